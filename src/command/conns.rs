//! `hogline conns`: defines connections, shows and tries them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::checks;
use super::run::working_folder;
use crate::cli::{ConnsAction, ConnsArgs, Format};
use crate::config::{Connections, Defined, env_yaml};
use crate::error::{Exit, Failure};
use crate::report::{self, Table};

/// Does what was asked.
pub(super) async fn conns(args: &ConnsArgs) -> Result<Exit, Failure> {
    let here = working_folder()?;
    match &args.action {
        ConnsAction::List { format } => list(&Connections::load(&here)?, *format),
        ConnsAction::Set { name, values } => set(&here, name, values),
        ConnsAction::Unset { name } => unset(&Connections::load(&here)?, name),
        ConnsAction::Test { name, format } => {
            let checks = checks::connection(name, &Connections::load(&here)?, &here).await?;
            Ok(checks::told(&checks, *format))
        }
        ConnsAction::Discover(args) => super::discover::discover(args).await,
    }
}

fn list(connections: &Connections, format: Format) -> Result<Exit, Failure> {
    let defined = connections.defined()?;
    match format {
        Format::Json => {
            report::print(&serde_json::to_string_pretty(&defined).unwrap_or_default());
        }
        Format::Table if defined.is_empty() => report::print(
            "No connection is defined. Define one with\n\n  hogline conns set POSTHOG type=api \
             spec=posthog secrets='{ api_key: \"phx_…\", project_id: \"12345\" }'",
        ),
        Format::Table => {
            let mut table = Table::new(&["connection", "type", "defined in", "hides that in"]);
            for Defined { name, kind, defined_in, also_in } in defined {
                table.row(vec![name, kind.into(), defined_in, also_in.join(", ")]);
            }
            report::print(&table.to_string());
        }
    }
    Ok(Exit::Complete)
}

fn set(here: &Path, name: &str, values: &[String]) -> Result<Exit, Failure> {
    let connections = Connections::load(here)?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if name.is_empty() || !name.chars().all(is_word) {
        return Err(Failure::usage(
            "the connection has no usable name",
            "a name has letters, digits, `_` and `-`",
            "write hogline conns set POSTHOG type=api …",
        ));
    }
    let definition = env_yaml::definition(values).map_err(|cause| {
        let fix =
            "write KEY=VALUE pairs: type=api spec=posthog secrets='{ api_key: …, project_id: … }'";
        Failure::usage(format!("connection {name} was not defined"), cause, fix)
    })?;
    connections.judge(name, &definition)?;
    let path = edit(&connections, |text| env_yaml::with(text, name, &definition))?;
    report::print(&format!("{name} is defined in {path}. Try it with: hogline conns test {name}"));
    let others = Connections::load(here)?.defined()?;
    let counts = others.iter().find(|other| other.name == name).map(|other| &other.defined_in);
    if let Some(place) = counts.filter(|place| **place != path) {
        report::tell(&format!("note: {place} defines {name} too, and is the one that counts"));
    }
    Ok(Exit::Complete)
}

fn unset(connections: &Connections, name: &str) -> Result<Exit, Failure> {
    let known = connections.defined()?;
    let places = known.iter().filter(|other| other.name == name);
    let places: Vec<&str> = places
        .flat_map(|other| std::iter::once(&other.defined_in).chain(&other.also_in))
        .map(String::as_str)
        .collect();
    let file = connections.env_yaml().map(|path| path.display().to_string()).unwrap_or_default();
    if !places.contains(&file.as_str()) {
        let cause = match places.as_slice() {
            [] => "no connection of this name is defined".to_owned(),
            [place, ..] => format!("it is defined in {place}"),
        };
        let fix = "hogline conns list shows every connection and where it is defined";
        return Err(Failure::usage(format!("{name} is not in {file}"), cause, fix));
    }
    let path = edit(connections, |text| env_yaml::without(text, name))?;
    report::print(&format!("{name} is no longer in {path}."));
    Ok(Exit::Complete)
}

/// Edits `env.yaml` in hogline's home, and tells its path.
fn edit(
    connections: &Connections,
    change: impl FnOnce(&str) -> Result<String, String>,
) -> Result<String, Failure> {
    let path = connections.env_yaml().ok_or_else(|| {
        let fix = "set HOGLINE_HOME to a folder";
        Failure::usage("hogline has no home", "neither HOME nor HOGLINE_HOME is set", fix)
    })?;
    let name = path.display().to_string();
    let text = match fs::read_to_string(&path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|err| cannot_write(&name, &err))?,
    };
    let text = change(&text).map_err(|cause| {
        Failure::usage(format!("{name} was left as it is"), cause, "edit it by hand")
    })?;
    replace(&path, &text).map_err(|err| cannot_write(&name, &err))?;
    Ok(name)
}

/// Writes a file that only its owner may read: all of it, or nothing.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Where it is a link, what it leads to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let draft = path.with_extension(format!("yaml.{}", std::process::id()));
    let write = || {
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        // One that a killed process left may be open to others.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &path)
    };
    write().inspect_err(|_| fs::remove_file(&draft).unwrap_or_default())
}

fn cannot_write(name: &str, err: &io::Error) -> Failure {
    let fix = "check that the folder and the file can be read and written";
    Failure::usage(format!("{name} was left as it is"), err.to_string(), fix)
}
