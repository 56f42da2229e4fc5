"""A student learns from a teacher in a loop written for JAX, with `jax.value_and_grad` and `stateless_call`.

    python examples/custom_loops/with_value_and_grad.py --steps 400

The loops for TensorFlow and PyTorch beside this one reach the same student.
"""

import lesson

settings = lesson.begin("jax", __doc__)  # before Keras is imported, which looks for its backend then

import jax  # noqa: E402
import keras  # noqa: E402

import keras_xent  # noqa: E402

inputs, labels, test_inputs, test_labels = lesson.digits()
y_true = lesson.make_targets(inputs, labels)
student = lesson.make_student()
loss = keras_xent.DistillationLoss(temperature=4.0, targets="logits", labels="sparse", label_weight=0.5)
optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
optimizer.build(student.trainable_variables)


def loss_of(trainable, others, batch_inputs, batch_y_true):
    logits, others = student.stateless_call(trainable, others, batch_inputs, training=True)
    return loss(batch_y_true, logits), others


@jax.jit
def step(state, batch_inputs, batch_y_true):
    trainable, others, momenta = state
    (value, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, others, batch_inputs, batch_y_true)
    trainable, momenta = optimizer.stateless_apply(momenta, gradients, trainable)
    return (trainable, others, momenta), value


# JAX's functions change nothing outside themselves: the numbers travel through the loop, and return to the student after it.
parts = (student.trainable_variables, student.non_trainable_variables, optimizer.variables)
state = tuple([variable.value for variable in part] for part in parts)
for batch_inputs, batch_y_true in lesson.batches(inputs, y_true, settings.steps):
    state, value = step(state, batch_inputs, batch_y_true)
for part, numbers in zip(parts, state, strict=True):
    for variable, number in zip(part, numbers, strict=True):
        variable.assign(number)

lesson.report(student, loss, inputs, y_true, test_inputs, test_labels, settings.weights)
