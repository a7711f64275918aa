//! Refusals: what all other stories are refused, against the rows that SPEC.md has for each call.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

const SPEC: &str = include_str!("../../../abi/SPEC.md");
/// Names the file to which a run of the stories appends its refusals.
const FILE: &str = "STRATO_REFUSALS";

type Seen = BTreeSet<(String, String, String)>;

static NOTED: Mutex<Seen> = Mutex::new(BTreeSet::new());

/// Notes a refusal, when this is the run that is asked for them.
pub(crate) fn note(call: Call, code: Code, reason: Reason) {
    let Some(file) = std::env::var_os(FILE) else { return };
    let entry = (call.name().to_owned(), code.name().to_owned(), format!("{reason:?}"));
    // Locked until it is written, so that no line is torn.
    let mut noted = NOTED.lock().unwrap();
    if noted.insert(entry.clone()) {
        let mut file = OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "{} {} {}", entry.0, entry.1, entry.2).unwrap();
    }
}

/// Runs all stories but the random one, which is refused by chance, and returns every refusal that they met.
fn refusals_of_all_stories() -> Seen {
    let name = format!("{}/refusals-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--quiet", "--skip", "refusals::", "--skip", "random::"])
        .env(FILE, &name)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let text = std::fs::read_to_string(&name).unwrap();
    std::fs::remove_file(&name).unwrap();
    assert!(status.success(), "another story failed; see there");
    let words = text.lines().map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    words
        .map(|words| <[String; 3]>::try_from(words).unwrap())
        .map(|[call, code, reason]| (call, code, reason))
        .collect()
}

fn entry(call: Call, code: &str, reason: &str) -> (String, String, String) {
    (call.name().to_owned(), code.to_owned(), reason.to_owned())
}

/// Returns what the rows of a call list: each code with each reason that its row names, or with any (`*`).
fn rows(call: Call) -> Seen {
    let section = SPEC.split(&format!("### {}\n", call.name())).nth(1).expect("every call has a section");
    let section = section.split("\n#").next().unwrap();
    let is_reason = |word: &&str| (0..=255).filter_map(Reason::from_u8).any(|reason| format!("{reason:?}") == *word);
    let row = |line: &'static str| {
        let mut words = line.strip_prefix("| error `")?.split('`');
        let code = words.next()?;
        let reasons: Vec<&str> = words.filter(is_reason).collect();
        Some((code, if reasons.is_empty() { vec!["*"] } else { reasons }))
    };
    let rows = section.lines().filter_map(row);
    rows.flat_map(|(code, reasons)| reasons.into_iter().map(move |reason| entry(call, code, reason))).collect()
}

/// Returns what chapter 11 says of every call, and of every argument that is a handle or an address, once for all.
fn general(call: Call) -> Seen {
    let mut all = Seen::from([entry(call, "DENIED", "NotAllowed")]);
    for argument in call.arguments() {
        match *argument {
            "port" | "peer" | "mem" | "space" | "share" | "irq" | "sched" => {
                all.extend(["BAD_HANDLE", "STALE", "WRONG_KIND"].map(|code| entry(call, code, "*")));
            }
            "handle" => all.extend(["BAD_HANDLE", "STALE"].map(|code| entry(call, code, "*"))), // of any kind
            "address" | "entry" => all.extend([entry(call, "BAD_ADDR", "TooLarge")]),
            _ => {}
        }
    }
    all
}

#[test]
fn every_refusal_of_the_specification_is_met_and_no_other() {
    let seen = refusals_of_all_stories();
    let is_seen = |want: &(String, String, String)| {
        seen.iter().any(|has| (&has.0, &has.1) == (&want.0, &want.1) && (want.2 == "*" || want.2 == has.2))
    };
    let mut wrong = Vec::new();
    for call in Call::ALL {
        let listed: Seen = rows(*call).union(&general(*call)).cloned().collect();
        wrong.extend(
            listed.iter().filter(|want| !is_seen(want)).map(|want| format!("no story is refused so: {want:?}")),
        );
        for has in seen.iter().filter(|has| has.0 == call.name()) {
            let any = entry(*call, &has.1, "*");
            let is_narrow = (has.1.as_str(), has.2.as_str()) == ("INVALID", "TooLarge"); // of any argument (2.5)
            if !(listed.contains(has) || listed.contains(&any) || is_narrow) {
                wrong.push(format!("SPEC.md does not list {has:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
