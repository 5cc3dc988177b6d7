//! The real parts that some tests need: models and the ONNX Runtime library in the cache.
