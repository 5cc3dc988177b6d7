//! Runs one worker from the command line: `engine --model FILE --listen ADDR [--context N] [--parallel N] [--threads N]
//! [--queue N] [--lookup N] [--exit-with-stdin]`, the options of `tollgate engine`. Tests start it where they need a real process.

use tollgate_engine::worker::{self, WorkerOptions};

fn options() -> Option<WorkerOptions> {
    let mut options = WorkerOptions::new("", "127.0.0.1:8081");
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "engine");
    while let Some(name) = arguments.next() {
        if name == "--exit-with-stdin" {
            options.exit_with_stdin = true;
            continue;
        }
        let value = arguments.next()?;
        match name.as_str() {
            "--model" => options.model = value.into(),
            "--listen" => options.listen = value,
            "--context" => options.context = value.parse().ok()?,
            "--parallel" => options.parallel = value.parse().ok()?,
            "--queue" => options.queue = value.parse().ok()?,
            "--lookup" => options.lookup = value.parse().ok()?,
            "--threads" => options.threads = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    Some(options)
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a program's last words go to stderr")]
async fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter()).init();
    let Some(options) = options() else {
        eprintln!(
            "usage: engine --model FILE --listen ADDR [--context N] [--parallel N] [--threads N] [--queue N]"
        );
        return 2.into();
    };
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    match worker::run(options, interrupted).await {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("error: {error}");
            1.into()
        }
    }
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into())
}
