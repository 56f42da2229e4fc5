"""Loss and gradient in each mode of the active backend, waited for."""

from keras import ops

from ..parity.running import BACKEND, compiled

__all__ = ["BACKEND", "Copy", "Run", "stepping", "wait"]


class Run:
    """A contender on its inputs: each call computes the mean loss and its gradients, and waits for them."""

    def __init__(self, contender, mode, inputs):
        self.step = stepping(contender.make(), mode)
        self.spoils, self.classes_first = contender.spoils, contender.classes_first
        self.targets, self.predictions = inputs.targets, arranged(contender, inputs.predictions)

    def prepared(self):
        """The inputs of one call, made before time is taken: new ones where they do not last."""
        if self.spoils:
            return self.targets, *(one.detach().clone().requires_grad_() for one in self.predictions)
        return self.targets, *self.predictions

    def __call__(self, prepared=None):
        """The value and the gradients."""
        return wait(self.step(*(prepared or self.prepared())))

    def as_drawn(self, gradients):
        """Gradients of the inputs as they were drawn, out of those of the inputs as the contender takes them."""
        features, *kernel = gradients
        return (features, *(ops.transpose(one) for one in kernel)) if self.classes_first else gradients


def arranged(contender, predictions):
    """The inputs as the contender takes them, in memory of their own."""
    if contender.classes_first:
        features, kernel = predictions
        predictions = features, ops.transpose(kernel)
        if BACKEND == "torch":
            predictions = features, predictions[1].contiguous()
    if BACKEND == "torch":
        predictions = [one.detach().requires_grad_() for one in predictions]
    return tuple(predictions)


def stepping(function, mode):
    """What computes the value of `function(targets, *predictions)` and its gradients by the predictions."""
    return {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[BACKEND](function, mode)


def _tensorflow(function, mode):
    import tensorflow as tf

    def step(targets, *predictions):
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            value = function(targets, *predictions)
        return value, *(tf.convert_to_tensor(one) for one in tape.gradient(value, predictions))

    return compiled(step, mode)


def _jax(function, mode):
    import jax

    def step(targets, *predictions):
        value, gradients = jax.value_and_grad(lambda given: function(targets, *given))(predictions)
        return value, *gradients

    return compiled(step, mode)


def _torch(function, mode):
    import torch

    function = compiled(function, mode, torch_backend="inductor")

    def step(targets, *predictions):
        value = function(targets, *predictions)
        return value.detach(), *torch.autograd.grad(value, predictions)

    return step


class Copy:
    """One pass over the logits, x + 1, in the same mode: the unit that times and memory are told in."""

    spoils = False

    def __init__(self, logits, mode):
        self.logits = logits
        self.step = compiled(lambda x: x + 1, mode, torch_backend="inductor")

    def prepared(self):
        """The logits."""
        return (self.logits,)

    def __call__(self, prepared=None):
        """A tensor of their size."""
        return wait((self.step(self.logits),))


def wait(result):
    """The result, once it is there."""
    if BACKEND == "jax":
        import jax

        return jax.block_until_ready(result)
    if BACKEND == "torch":
        import torch

        if result[0].is_cuda:
            torch.cuda.synchronize()
    elif "GPU" in result[0].device:
        import tensorflow as tf

        tf.test.experimental.sync_devices()
    return result
