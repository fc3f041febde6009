//! Exit codes, and what is said on stderr before one of them.

use std::process::ExitCode;

use super::{ClientError, Outcome};

pub const SUCCEEDED: u8 = 0;
pub const FAILED: u8 = 1;
pub const USAGE: u8 = 2;
/// The service, or what it stands on, cannot be reached.
pub const UNREACHABLE: u8 = 3;

pub fn code(asked: Result<Outcome, ClientError>) -> ExitCode {
    let code = match &asked {
        Ok(Outcome::Succeeded) => SUCCEEDED,
        Ok(Outcome::Failed) => FAILED,
        Err(error) => error.exit(),
    };
    if let Err(error) = asked {
        eprint!("{}", said(&error));
    }
    ExitCode::from(code)
}

/// A list of faults in definitions stands as it is, one on each line, so that editors can jump to them.
fn said(error: &ClientError) -> String {
    let mut text = String::new();
    if let ClientError::Refused(refusal) = error {
        for fault in &refusal.errors {
            text.push_str(&format!("{fault}\n"));
        }
    }
    text.push_str(&format!("tidegate: {error}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::super::error::{DefinitionFault, Refusal};
    use super::*;

    fn refused(status: u16, code: &str) -> ClientError {
        ClientError::Refused(Refusal { status, code: code.into(), message: "m".into(), ..Refusal::default() })
    }

    #[test]
    fn every_fault_has_its_exit_code() {
        for (error, code) in [
            (refused(422, "definitions-invalid"), FAILED),
            (refused(404, "object-unknown"), FAILED),
            (refused(409, "object-referred"), FAILED),
            (refused(500, "statement-failed"), FAILED),
            (refused(400, "statement-not-read-only"), USAGE),
            (refused(401, "unauthorized"), UNREACHABLE),
            (refused(503, "database-unavailable"), UNREACHABLE),
            (ClientError::Unreachable { url: "http://127.0.0.1:1".into(), reason: "refused".into() }, UNREACHABLE),
            (ClientError::Usage("x".into()), USAGE),
            (ClientError::Local("x".into()), FAILED),
        ] {
            assert_eq!(error.exit(), code, "{error}");
        }
    }

    #[test]
    fn faults_in_definitions_stand_on_lines_of_their_own() {
        let fault = DefinitionFault {
            file: "hello.yaml".into(),
            line: 12,
            field: "channels.protect.send".into(),
            message: "unknown schedule kind `dayly`".into(),
            allowed: "allowed here: never".into(),
        };
        let whole = DefinitionFault { line: 0, field: String::new(), allowed: String::new(), ..fault.clone() };
        let error = ClientError::Refused(Refusal {
            status: 422,
            code: "definitions-invalid".into(),
            message: "nothing was applied: 2 errors in the definitions".into(),
            errors: vec![fault, whole],
            ..Refusal::default()
        });
        let expected = "\
hello.yaml:12: channels.protect.send: unknown schedule kind `dayly`; allowed here: never
hello.yaml: unknown schedule kind `dayly`
tidegate: nothing was applied: 2 errors in the definitions [definitions-invalid]
";
        assert_eq!(said(&error), expected);
    }
}
