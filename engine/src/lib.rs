//! Local inference engines: llama.cpp workers, their supervisor and their model files.
