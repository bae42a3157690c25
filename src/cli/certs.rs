//! `annal cert …`: who may connect, where the authority's key is.
//!
//! Making one asks nobody. Revoking one is a command in the log, as of a token.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::{CertVerb, Certs, NewCertificate};
use super::connection::{Target, target};
use super::escape::escaped;
use super::failure::{End, Failure};
use super::grants::{self, GrantRow};
use super::moment::shown;
use super::output::{Printer, Row, talk};
use super::reach::Reach;
use super::{revoking, runtime};
use crate::access::TokenId;
use crate::config::ClusterConfig;
use crate::date::wall_clock;
use crate::limits;
use crate::net::tls::TlsError;
use crate::net::{Certificate, CertificateRole, Holder};
use crate::node::certificates::{CertificatesError, Made, Place, is_expiring, newest};
use crate::outcome::Outcome;
use crate::types::{NodeId, Timestamp};

/// Does what is asked for.
pub(super) fn run(args: Certs, printer: &mut Printer) -> Result<(), End> {
    let target = target(&args.connection)?;
    match args.verb {
        CertVerb::Issue(new) => issue(&target, new, printer),
        CertVerb::Renew { names, all } => renew(&target, &names, all, printer),
        CertVerb::Revoke { certificate } => revoke(target, &certificate),
        CertVerb::Show { file: Some(file) } => {
            Ok(printer.print_now(&CertificateRow::of(&Certificate::read(&file)?))?)
        }
        CertVerb::Show { file: None } => show(&target, printer),
    }
}

/// The directory of a cluster, and what it is.
struct Here {
    directory: PathBuf,
    cluster: ClusterConfig,
}

impl Here {
    fn of(target: &Target) -> Result<Self, End> {
        let directory = target.certs.parent().unwrap_or(Path::new(".")).to_owned();
        Ok(Self { directory, cluster: super::connection::load(&target.certs)? })
    }

    fn place(&self) -> Place<'_> {
        Place { directory: &self.directory, cluster: &self.cluster }
    }
}

/// Makes a certificate for somebody.
fn issue(target: &Target, new: NewCertificate, printer: &mut Printer) -> Result<(), End> {
    let NewCertificate { role, name, allow, logs, expires } = new;
    let says_grants = !allow.is_empty() || !logs.is_empty();
    let grants = says_grants.then(|| grants::of(logs, &allow)).transpose()?;
    let here = Here::of(target)?;
    let holder = Holder { grants, ..holder(&here.cluster, role.into(), &name) };
    tell(&here.place().issue(&holder, expires, false)?, printer)
}

/// Who is called so. Where a node is reached its cluster knows.
fn holder(cluster: &ClusterConfig, role: CertificateRole, name: &str) -> Holder {
    let node = (role == CertificateRole::Node).then(|| name.parse::<NodeId>().ok()).flatten();
    match node.and_then(|node| Some((node, cluster.nodes.get(&node)?))) {
        Some((node, address)) => Holder::node(node, address),
        None => Holder::new(role, name),
    }
}

fn tell(made: &Made, printer: &mut Printer) -> Result<(), End> {
    let folder = made.folder.display().to_string();
    let row = CertificateRow::of(&made.certificate);
    printer.print_now(&MadeRow { row, folder: &folder })?;
    if !printer.is_json() && made.is_to_be_copied {
        talk(format_args!("copy what is in {} to where its holder runs", escaped(&folder)));
    }
    Ok(())
}

/// Makes certificates anew.
fn renew(target: &Target, names: &[String], all: bool, printer: &mut Printer) -> Result<(), End> {
    let here = Here::of(target)?;
    let place = here.place();
    let mut known = newest(place.issued()?);
    for name in names {
        if !known.iter().any(|certificate| certificate.identity.name == *name) {
            let sentence =
                format!("nobody called {} has a certificate of this cluster", escaped(name));
            let hint = "`annal cert show` lists them, and `annal cert issue` makes one";
            return Err(Failure::new(Outcome::Failed, sentence, hint).into());
        }
    }
    let now = wall_clock();
    known.retain(|certificate| {
        let is_named = names.contains(&certificate.identity.name);
        is_named || names.is_empty() && (all || is_expiring(certificate.expires, now))
    });
    if known.is_empty() {
        talk(format_args!("no certificate expires within {} days", warning_days()));
    }
    for Certificate { identity, grants, .. } in known {
        let holder = Holder { grants, ..holder(&here.cluster, identity.role, &identity.name) };
        tell(&place.issue(&holder, limits::CERTIFICATE_LIFE_DEFAULT, true)?, printer)?;
    }
    Ok(())
}

/// Revokes a certificate: it is made anew no more, either.
fn revoke(target: Target, certificate: &OsStr) -> Result<(), End> {
    let id = match certificate.to_str().and_then(|text| text.parse().ok()) {
        Some(id) => id,
        None => id_in(Path::new(certificate))?,
    };
    let here = Here::of(&target)?;
    if runtime::wait(revoking::revoke(Reach::new(target), "certificate", id))? {
        here.place().forget(id)?;
    }
    Ok(())
}

fn id_in(file: &Path) -> Result<TokenId, End> {
    Certificate::read(file)?.id.ok_or_else(|| {
        let sentence = format!(
            "{} has no id by which it could be revoked",
            escaped(&file.display().to_string())
        );
        let hint = "`annal cert issue` makes certificates that have one";
        Failure::new(Outcome::Failed, sentence, hint).into()
    })
}

/// Shows all that hold, and of whoever has none the last.
fn show(target: &Target, printer: &mut Printer) -> Result<(), End> {
    let issued = Here::of(target)?.place().issued()?;
    let last = newest(issued.clone());
    for certificate in issued {
        if certificate.expires > wall_clock() || last.contains(&certificate) {
            printer.print(&CertificateRow::of(&certificate))?;
        }
    }
    Ok(printer.flush()?)
}

fn warning_days() -> u64 {
    limits::CERTIFICATE_WARNING.as_secs() / SECONDS_OF_DAY
}

const SECONDS_OF_DAY: u64 = 24 * 60 * 60;

/// What a certificate says.
#[derive(Serialize)]
struct CertificateRow {
    role: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<TokenId>,
    expires_at: String,
    /// Whole days; negative once it has expired.
    days_left: i64,
    /// What it allows, if that is not all that the role may.
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<Vec<GrantRow>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observe: Option<bool>,
}

impl CertificateRow {
    fn of(certificate: &Certificate) -> Self {
        let Certificate { identity, id, grants, expires, .. } = certificate;
        Self {
            role: identity.role.to_string(),
            name: identity.name.clone(),
            id: *id,
            expires_at: shown(*expires),
            days_left: days_left(*expires),
            logs: grants.as_ref().map(grants::rows),
            observe: grants.as_ref().map(|grants| grants.observe),
        }
    }
}

fn days_left(expires: Timestamp) -> i64 {
    let seconds = |time: Timestamp| i64::try_from(time.get() / 1000).unwrap_or(i64::MAX);
    (seconds(expires) - seconds(wall_clock())).div_euclid(SECONDS_OF_DAY.cast_signed())
}

impl Row for CertificateRow {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { role, name, expires_at, days_left, .. } = self;
        let id = self.id.map_or_else(|| "without an id".to_owned(), |id| id.to_string());
        match days_left {
            ..0 => writeln!(out, "{role} {name}: {id}, expired {expires_at}")?,
            _ => writeln!(out, "{role} {name}: {id}, until {expires_at}, {days_left} days left")?,
        }
        let Some(logs) = &self.logs else { return Ok(()) };
        for GrantRow { log, allow } in logs {
            writeln!(out, "  {allow} {log}")?;
        }
        if self.observe == Some(true) {
            writeln!(out, "  observe the cluster")?;
        }
        Ok(())
    }
}

/// A certificate that was made.
#[derive(Serialize)]
struct MadeRow<'a> {
    #[serde(flatten)]
    row: CertificateRow,
    folder: &'a str,
}

impl Row for MadeRow<'_> {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        self.row.human(out)?;
        writeln!(out, "  in {}", escaped(self.folder))
    }
}

impl From<CertificatesError> for End {
    fn from(error: CertificatesError) -> Self {
        let is_usage = matches!(&error, CertificatesError::Issue(issue) if issue.is_usage());
        let outcome = if is_usage { Outcome::Usage } else { Outcome::Failed };
        Failure::new(outcome, &error, error.hint()).into()
    }
}

impl From<TlsError> for End {
    fn from(error: TlsError) -> Self {
        Failure::new(Outcome::Failed, &error, error.hint()).into()
    }
}
