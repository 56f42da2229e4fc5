"""Other libraries' losses of logits or probabilities, each as its documentation calls it."""

from .contenders import Contender


def torch_sparse():
    """`torch.nn.functional.cross_entropy`."""
    from torch.nn.functional import cross_entropy

    return lambda targets, logits: cross_entropy(logits, targets)


def torch_binary():
    """`torch.nn.functional.binary_cross_entropy_with_logits`."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    return lambda targets, logits: binary_cross_entropy_with_logits(logits, targets)


def torch_binary_probs():
    """`torch.nn.functional.binary_cross_entropy`."""
    from torch.nn.functional import binary_cross_entropy

    return lambda targets, probs: binary_cross_entropy(probs, targets)


def torch_divergence():
    """`torch.nn.functional.kl_div` of `log_softmax`."""
    from torch.nn.functional import kl_div, log_softmax

    return lambda targets, logits: kl_div(log_softmax(logits, -1), targets, reduction="batchmean")


def torch_distillation(temperature):
    """The same, teacher and student tempered."""

    def make():
        from torch.nn.functional import kl_div, log_softmax

        def loss(teacher, student):
            log_q, log_p = (log_softmax(logits / temperature, -1) for logits in (student, teacher))
            return temperature**2 * kl_div(log_q, log_p, reduction="batchmean", log_target=True)

        return loss

    return make


def optax_loss(name, **options):
    """A loss of optax by its name: of logits and labels."""

    def make():
        import optax

        loss = getattr(optax.losses, name)
        return lambda targets, logits: loss(logits, targets, **options).mean()

    return make


def optax_divergence():
    """`kl_divergence` of `log_softmax`."""
    import jax
    import optax

    return lambda targets, logits: optax.losses.kl_divergence(jax.nn.log_softmax(logits), targets).mean()


def optax_distillation(temperature):
    """`kl_divergence_with_log_targets`, teacher and student tempered."""

    def make():
        import jax
        import optax

        def loss(teacher, student):
            log_q, log_p = (jax.nn.log_softmax(logits / temperature) for logits in (student, teacher))
            return temperature**2 * optax.losses.kl_divergence_with_log_targets(log_q, log_p).mean()

        return loss

    return make


def liger_sparse():
    """Liger's `liger_cross_entropy`, which writes the gradient over the logits."""
    from liger_kernel.transformers.functional import liger_cross_entropy  # pyright: ignore[reportMissingImports]

    return lambda targets, logits: liger_cross_entropy(logits, targets)


def of_torch(make, name="torch"):
    """PyTorch's own."""
    return Contender(name, make, backends=("torch",))


def of_optax(make):
    """Optax's."""
    return Contender("optax", make, backends=("jax",), module="optax", package="optax")


LIGER = {"backends": ("torch",), "devices": ("gpu",), "module": "liger_kernel", "package": "liger-kernel"}  # Triton's kernels
SPARSE = (
    of_torch(torch_sparse),
    of_optax(optax_loss("softmax_cross_entropy_with_integer_labels")),
    Contender("Liger", liger_sparse, spoils=True, **LIGER),
)
DENSE = (of_torch(torch_sparse), of_optax(optax_loss("softmax_cross_entropy")))
BINARY = (of_torch(torch_binary), of_optax(optax_loss("sigmoid_binary_cross_entropy")))
BINARY_PROBS = (of_torch(torch_binary_probs),)
BINARY_FOCAL = (of_optax(optax_loss("sigmoid_focal_loss", alpha=None, gamma=2.0)),)
DIVERGENCE = (of_torch(torch_divergence), of_optax(optax_divergence))


def distillation(temperature):
    """Of those that have a divergence between logarithms."""
    return of_torch(torch_distillation(temperature)), of_optax(optax_distillation(temperature))
