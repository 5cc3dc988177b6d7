//! Writes the features of JSON lines for training: the same code as the gateway's.
//!
//! Reads `{"prompt": …}` or `{"messages": [{"role", "content"}]}` lines on stdin. Writes little-endian
//! arrays to the folder named first: `offsets.u64` (rows + 1), `ids.i32`, `weights.f32`, `dense.f32`,
//! and `spec.json`, which training copies into the graph's metadata.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufWriter, Error, Result, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tollgate_router::features::{BUCKETS, DENSE, DENSE_NAMES, Features, VERSION, WORD_BUCKETS};
use tollgate_router::{DOMAINS, Role, Task, Turn};

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    prompt: String,
    #[serde(default)]
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

fn main() -> Result<()> {
    let usage = || Error::other("usage: router-features FOLDER < prompts.jsonl");
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or_else(usage)?;
    std::fs::create_dir_all(&folder)?;
    let [mut offsets, mut ids, mut weights, mut dense] = [
        create(&folder, "offsets.u64")?,
        create(&folder, "ids.i32")?,
        create(&folder, "weights.f32")?,
        create(&folder, "dense.f32")?,
    ];
    let mut features = Features::default();
    let mut total: u64 = 0;
    offsets.write_all(&total.to_le_bytes())?;
    for (at, line) in std::io::stdin().lock().lines().enumerate() {
        let line: Line = serde_json::from_str(&line?)
            .map_err(|error| Error::other(format!("line {}: {error}", at + 1)))?;
        extract(&line, &mut features);
        total += features.ids.len() as u64;
        offsets.write_all(&total.to_le_bytes())?;
        features.ids.iter().try_for_each(|id| ids.write_all(&id.to_le_bytes()))?;
        features.weights.iter().try_for_each(|weight| weights.write_all(&weight.to_le_bytes()))?;
        features.dense.iter().try_for_each(|value| dense.write_all(&value.to_le_bytes()))?;
    }
    for mut file in [offsets, ids, weights, dense] {
        file.flush()?;
    }
    write_spec(&folder)
}

fn create(folder: &Path, name: &str) -> Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(folder.join(name))?))
}

fn extract(line: &Line, features: &mut Features) {
    if line.messages.is_empty() {
        return features.extract(&Task::prompt(&line.prompt));
    }
    let turns: Vec<Turn<'_>> = line.messages.iter().map(turn).collect();
    features.extract(&Task::new(&turns));
}

fn turn(message: &Message) -> Turn<'_> {
    let role = match message.role.as_str() {
        "system" | "developer" => Role::System,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => Role::User,
    };
    Turn { role, text: Cow::Borrowed(&message.content) }
}

fn write_spec(folder: &Path) -> Result<()> {
    let spec = serde_json::json!({
        "features": format!("version {VERSION}, {BUCKETS} buckets"),
        "buckets": BUCKETS,
        "word_buckets": WORD_BUCKETS,
        "dense_count": DENSE,
        "dense": DENSE_NAMES.join(" "),
        "domains": DOMAINS.join(" "),
    });
    std::fs::write(folder.join("spec.json"), serde_json::to_vec_pretty(&spec)?)
}
