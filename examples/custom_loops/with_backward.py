"""A student learns from a teacher in a loop written for PyTorch, with `backward()`.

    python examples/custom_loops/with_backward.py --steps 400

The loops for TensorFlow and JAX beside this one reach the same student.
"""

import lesson

settings = lesson.begin("torch", __doc__)  # before Keras is imported, which looks for its backend then

import keras  # noqa: E402
import torch  # noqa: E402

import keras_xent  # noqa: E402

inputs, labels, test_inputs, test_labels = lesson.digits()
y_true = lesson.make_targets(inputs, labels)
student = lesson.make_student()
loss = keras_xent.DistillationLoss(temperature=4.0, targets="logits", labels="sparse", label_weight=0.5)
optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
optimizer.build(student.trainable_variables)


def step(batch_inputs, batch_y_true):
    student.zero_grad()  # `backward()` adds to what is there
    value = loss(batch_y_true, student(batch_inputs, training=True))
    value.backward()
    gradients = [variable.value.grad for variable in student.trainable_variables]
    with torch.no_grad():
        optimizer.apply(gradients, student.trainable_variables)
    return value


for batch_inputs, batch_y_true in lesson.batches(inputs, y_true, settings.steps):
    step(batch_inputs, batch_y_true)

lesson.report(student, loss, inputs, y_true, test_inputs, test_labels, settings.weights)
