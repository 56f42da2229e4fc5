"""A student learns from a teacher in a loop written for TensorFlow, with `tf.GradientTape`.

    python examples/custom_loops/with_gradient_tape.py --steps 400

The loops for JAX and PyTorch beside this one reach the same student.
"""

import lesson

settings = lesson.begin("tensorflow", __doc__)  # before Keras is imported, which looks for its backend then

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

import keras_xent  # noqa: E402

inputs, labels, test_inputs, test_labels = lesson.digits()
y_true = lesson.make_targets(inputs, labels)
student = lesson.make_student()
loss = keras_xent.DistillationLoss(temperature=4.0, targets="logits", labels="sparse", label_weight=0.5)
optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
optimizer.build(student.trainable_variables)  # a tf.function may not make variables after its first call


@tf.function
def step(batch_inputs, batch_y_true):
    with tf.GradientTape() as tape:
        value = loss(batch_y_true, student(batch_inputs, training=True))
    gradients = tape.gradient(value, student.trainable_variables)
    optimizer.apply(gradients, student.trainable_variables)
    return value


for batch_inputs, batch_y_true in lesson.batches(inputs, y_true, settings.steps):
    step(batch_inputs, batch_y_true)

lesson.report(student, loss, inputs, y_true, test_inputs, test_labels, settings.weights)
