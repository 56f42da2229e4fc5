"""What tests need of the active backend; how a loss is run there is the library's own knowledge."""

from keras_xent.parity.running import BACKEND, MODES, array, compiled, rounded, tensor, value_and_gradient

__all__ = ["BACKEND", "DTYPES", "MODES", "array", "compiled", "rounded", "tensor", "value_and_gradient"]

DTYPES = ("float32", "bfloat16", "float16") + (("float64",) if BACKEND != "jax" else ())
