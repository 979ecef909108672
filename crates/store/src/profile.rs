//! AWS's shared configuration files, as its own tools read them: `~/.aws/credentials` and
//! `~/.aws/config`, the profile that `AWS_PROFILE` names. Only static keys, region and endpoint
//! are taken; a profile that assumes a role or signs on is refused with an explanation.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use crate::{StoreError, options::Settings};

/// What a profile says, as pairs of the environment's variable and its value.
pub(crate) fn load(settings: &Settings) -> Result<BTreeMap<&'static str, String>, StoreError> {
    let named = settings.get("AWS_PROFILE");
    let profile = named.unwrap_or("default");
    let file = |variable: &str, name: &str| {
        settings.get(variable).map(PathBuf::from).or_else(|| {
            settings.get("HOME").map(|home| PathBuf::from(home).join(".aws").join(name))
        })
    };
    let mut found = BTreeMap::new();
    let mut is_known = false;
    for (path, section) in [
        (file("AWS_CONFIG_FILE", "config"), format!("profile {profile}")),
        (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile.to_owned()),
    ] {
        let Some(path) = path else { continue };
        let bad =
            |reason: String| StoreError::BadOption { name: path.display().to_string(), reason };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(bad(error.to_string())),
        };
        for (name, value) in
            entries(&text, |s| s == section || (s == profile && profile == "default"))
        {
            is_known = true;
            let variable = match name {
                "aws_access_key_id" => "AWS_ACCESS_KEY_ID",
                "aws_secret_access_key" => "AWS_SECRET_ACCESS_KEY",
                "aws_session_token" => "AWS_SESSION_TOKEN",
                // What tools that sign on write beside the keys that they got.
                "x_security_token_expires" => "AWS_CREDENTIAL_EXPIRATION",
                "region" => "AWS_REGION",
                "endpoint_url" => "AWS_ENDPOINT_URL",
                "role_arn" | "credential_process" | "sso_session" | "sso_start_url"
                    if named.is_some() =>
                {
                    return Err(bad(format!(
                        "profile {profile} uses {name}, which is not supported; export its keys: aws configure export-credentials --format env"
                    )));
                }
                _ => continue,
            };
            found.insert(variable, value.to_owned());
        }
    }
    match named {
        Some(name) if !is_known => Err(StoreError::BadOption {
            name: "AWS_PROFILE".to_owned(),
            reason: format!("there is no profile {name} in the configuration files"),
        }),
        _ => Ok(found),
    }
}

/// The `name = value` lines of the sections that `is_wanted`. Indented lines are sub-settings of
/// one service and are left out.
fn entries(text: &str, is_wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, &str)> {
    let mut wanted = false;
    text.lines().filter_map(move |line| {
        if let Some(section) = line.trim().strip_prefix('[').and_then(|l| l.split_once(']')) {
            wanted = is_wanted(section.0.trim());
            return None;
        }
        if !wanted || line.starts_with([' ', '\t', '#', ';']) {
            return None;
        }
        let (name, value) = line.split_once('=')?;
        Some((name.trim(), value.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_profile_is_read_from_both_files() {
        let home = tempfile::tempdir().unwrap();
        let aws = home.path().join(".aws");
        fs::create_dir(&aws).unwrap();
        fs::write(
            aws.join("credentials"),
            "[default]\naws_access_key_id = D\naws_secret_access_key=DS\n# x = y\n[clinic]\naws_access_key_id=C\naws_secret_access_key = CS==\n",
        )
        .unwrap();
        fs::write(
            aws.join("config"),
            "[default]\nregion = eu-west-1\n[profile clinic]\nregion=eu-central-1\ns3 =\n  region = nowhere\n[profile role]\nrole_arn = x\n",
        )
        .unwrap();
        let load_as = |profile: &str| {
            let mut env = vec![("HOME".to_owned(), home.path().display().to_string())];
            if !profile.is_empty() {
                env.push(("AWS_PROFILE".to_owned(), profile.to_owned()));
            }
            load(&crate::StoreOptions::from_env(env).settings)
        };
        let default = load_as("").unwrap();
        assert_eq!(default["AWS_ACCESS_KEY_ID"], "D");
        assert_eq!(default["AWS_REGION"], "eu-west-1");
        let clinic = load_as("clinic").unwrap();
        assert_eq!(clinic["AWS_SECRET_ACCESS_KEY"], "CS==");
        assert_eq!(clinic["AWS_REGION"], "eu-central-1");
        assert!(load_as("role").unwrap_err().to_string().contains("role_arn"));
        assert!(load_as("none").unwrap_err().to_string().contains("no profile none"));
    }

    #[test]
    fn without_files_there_is_nothing_to_say() {
        assert!(load(&Settings::default()).unwrap().is_empty());
    }
}
