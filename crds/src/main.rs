//! `granary-crds write DIR` writes the definitions as YAML; `granary-crds check DIR` exits 1 when the files differ from the types.

use std::{path::Path, process::ExitCode};

use granary_crds::yaml;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", directory] => yaml::write(Path::new(directory)),
        ["check", directory] => yaml::check(Path::new(directory)),
        _ => {
            eprintln!("usage: granary-crds write DIR | granary-crds check DIR");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            if let Some(source) = std::error::Error::source(&error) {
                eprintln!("  because: {source}");
            }
            ExitCode::FAILURE
        }
    }
}
