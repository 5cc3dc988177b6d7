//! LoRA adapters of an engine: small files that change what a loaded model says, each a name that requests ask for.
//!
//! The same is `adapters` of an `embedded` engine in the configuration and `--lora NAME=FILE[:SCALE]` of `tollgate engine`.
//! What is in the files is looked at where the model is loaded. A folder of PEFT's is an adapter as well.

use std::path::PathBuf;

/// The files of an adapter as PEFT saves it, in a folder.
pub(crate) const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";

/// Scales at most, either way: beyond this an adapter drowns the model.
pub const MOST_SCALE: f32 = 100.0;

/// One adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// What requests call it.
    pub name: String,
    /// The GGUF file, or the folder that PEFT saved it in.
    pub path: PathBuf,
    /// How strongly it applies; 1 = as it was trained.
    pub scale: f32,
}

/// Bytes of memory that adapters take: they are read whole. One that is not there counts as none.
#[must_use]
pub fn bytes(adapters: &[Adapter]) -> u64 {
    let bytes = |adapter: &Adapter| {
        let files = adapter.files().into_iter().filter_map(|file| std::fs::metadata(file).ok());
        // A folder's are made single precision, which may be twice as long.
        files.map(|file| file.len()).sum::<u64>() * if adapter.path.is_dir() { 2 } else { 1 }
    };
    adapters.iter().map(bytes).sum()
}

impl Adapter {
    /// What is wrong with a name, if anything.
    #[must_use]
    pub fn misnamed(name: &str) -> Option<&'static str> {
        let usable = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=');
        (!usable).then_some("an adapter's name must be visible ASCII characters without spaces and `=`")
    }

    /// The files that it is made of.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        if self.path.is_dir() {
            [CONFIG, WEIGHTS].map(|file| self.path.join(file)).into()
        } else {
            vec![self.path.clone()]
        }
    }

    /// Whether a scale can be used.
    #[must_use]
    pub fn scales(scale: f32) -> bool {
        scale.abs() <= MOST_SCALE
    }

    /// The options of `tollgate engine` that say the same.
    #[must_use]
    pub fn arguments(&self) -> [String; 2] {
        // The scale is always written: what follows a colon in the file's own name is then no scale.
        ["--lora".to_owned(), format!("{}={}:{}", self.name, self.path.display(), self.scale)]
    }
}

impl std::str::FromStr for Adapter {
    type Err = String;

    fn from_str(text: &str) -> Result<Adapter, String> {
        let (name, file) = text.split_once('=').ok_or("expected NAME=FILE or NAME=FILE:SCALE")?;
        if let Some(wrong) = Adapter::misnamed(name) {
            return Err(wrong.to_owned());
        }
        let scaled = file.rsplit_once(':').and_then(|(path, scale)| Some((path, scale.parse::<f32>().ok()?)));
        let (path, scale) = scaled.unwrap_or((file, 1.0));
        if path.is_empty() {
            return Err("the adapter's file is missing: NAME=FILE".to_owned());
        }
        if !Adapter::scales(scale) {
            return Err(format!("the scale must be a number from -{MOST_SCALE} to {MOST_SCALE}"));
        }
        Ok(Adapter { name: name.to_owned(), path: PathBuf::from(path), scale })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, path: &str, scale: f32) -> Adapter {
        Adapter { name: name.to_owned(), path: PathBuf::from(path), scale }
    }

    #[test]
    fn options_are_read_as_they_are_written() {
        for (text, expected) in [
            ("sql=sql.gguf", adapter("sql", "sql.gguf", 1.0)),
            ("sql=a/b.gguf:0.5", adapter("sql", "a/b.gguf", 0.5)),
            ("sql=odd:name.gguf", adapter("sql", "odd:name.gguf", 1.0)),
            ("sql=a=b.gguf:-1", adapter("sql", "a=b.gguf", -1.0)),
        ] {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            let [option, value] = expected.arguments();
            assert_eq!((option.as_str(), value.parse()), ("--lora", Ok(expected)), "{value}");
        }
        assert_eq!(adapter("a", "odd:1", 1.0).arguments()[1].parse(), Ok(adapter("a", "odd:1", 1.0)));
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        for (text, part) in [
            ("sql.gguf", "NAME=FILE"),
            ("=sql.gguf", "name"),
            ("my sql=sql.gguf", "name"),
            ("sql=", "file"),
            ("sql=:1", "file"),
            ("sql=sql.gguf:1000", "scale"),
            ("sql=sql.gguf:NaN", "scale"),
        ] {
            assert!(text.parse::<Adapter>().unwrap_err().contains(part), "{text}");
        }
    }
}
