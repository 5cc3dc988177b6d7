//! Model files: the known models, where they are cached, how they are fetched, made and inspected.
