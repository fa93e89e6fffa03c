//! Every route, called by everybody: what each gets is written in `authorisation.txt`. A new route without a row
//! fails, and so does a route that lets somebody else in. After a change that is meant, run with
//! `SINEW_UPDATE=1` and read the difference.

mod support;

use sinew_hub::accounts::tokens::create;
use sinew_hub::accounts::{self, Account, NewToken, Role, TokenRole};
use sinew_hub::server::table;
use std::fmt::Write;
use std::path::Path;
use support::Server;

const KINDS: [&str; 4] = ["model", "dataset", "space", "kernel"];
const HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Names and tokens of the callers. The repositories are private ones of the organisation `acme`.
fn callers(server: &Server) -> Vec<(&'static str, Option<String>)> {
    let db = server.hub.db();
    server.run(async {
        let user = async |name: &str| accounts::create_user(db, name, None, false).await.unwrap();
        let boss = user("boss").await;
        let acme = accounts::create_org(db, "acme", &boss).await.unwrap();
        let mut people = Vec::new();
        for (name, role) in [
            ("reader", Role::Read),
            ("contributor", Role::Contributor),
            ("writer", Role::Write),
        ] {
            let person = user(name).await;
            accounts::set_role(db, &acme, &person, Some(role))
                .await
                .unwrap();
            people.push(person);
        }
        let outsider = user("outsider").await;
        accounts::create_org(db, "other", &outsider).await.unwrap();
        let token = async |who: &Account, role: TokenRole, expires_ms: Option<i64>| {
            let new = NewToken {
                name: "test".to_owned(),
                role,
                expires_ms,
                grants: Vec::new(),
            };
            Some(create(db, who, &new).await.unwrap())
        };
        let write = TokenRole::Write;
        vec![
            ("anonymous", None),
            ("wrong", Some("hf_wrong".to_owned())),
            ("expired", token(&boss, write, Some(1)).await),
            ("outsider", token(&outsider, write, None).await),
            ("reader", token(&people[0], write, None).await),
            ("contributor", token(&people[1], write, None).await),
            (
                "writer's read token",
                token(&people[2], TokenRole::Read, None).await,
            ),
            (
                "writer's grants to nothing",
                token(&people[2], TokenRole::FineGrained, None).await,
            ),
            ("writer", token(&people[2], write, None).await),
            ("admin", token(&boss, write, None).await),
        ]
    })
}

/// Requests that name what they want in their bodies or queries: what it is, method, path, body.
const BODIES: [(&str, &str, &str, &str); 10] = [
    (
        "create in another's namespace",
        "POST",
        "/api/repos/create",
        r#"{"name":"acme/mine"}"#,
    ),
    (
        "delete",
        "DELETE",
        "/api/repos/delete",
        r#"{"name":"acme/victim"}"#,
    ),
    (
        "move away",
        "POST",
        "/api/repos/move",
        r#"{"fromRepo":"acme/mover","toRepo":"outsider/mover"}"#,
    ),
    (
        "move in",
        "POST",
        "/api/repos/move",
        r#"{"fromRepo":"outsider/own","toRepo":"acme/own"}"#,
    ),
    (
        "push",
        "GET",
        "/acme/repo/info/refs?service=git-receive-pack",
        "",
    ),
    (
        "upload",
        "POST",
        "/acme/repo/info/lfs/objects/batch",
        r#"{"operation":"upload","objects":[]}"#,
    ),
    (
        "copy into another's namespace",
        "POST",
        "/api/models/acme/repo/duplicate",
        r#"{"repository":"acme/copy"}"#,
    ),
    (
        "copy to oneself",
        "POST",
        "/api/models/acme/repo/duplicate",
        r#"{"repository":"outsider/copy"}"#,
    ),
    (
        "copy large files into another's",
        "POST",
        "/api/models/outsider/own/lfs-files/duplicate",
        r#"{"target":{"type":"model","name":"acme/repo"},"files":[]}"#,
    ),
    (
        "download",
        "POST",
        "/acme/repo/info/lfs/objects/batch",
        r#"{"operation":"download","objects":[]}"#,
    ),
];

struct Reply {
    status: u16,
    code: String,
    body: String,
}

fn call(server: &Server, method: &str, path: &str, token: Option<&str>, body: &str) -> Reply {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build();
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{}{path}", server.endpoint()))
        .header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(body.to_owned()).unwrap();
    let mut response = ureq::Agent::new_with_config(config).run(request).unwrap();
    let code = response.headers().get("x-error-code");
    Reply {
        status: response.status().as_u16(),
        code: code.map_or(String::new(), |code| code.to_str().unwrap().to_owned()),
        body: response.body_mut().read_to_string().unwrap_or_default(),
    }
}

/// What a caller gets: `in`, or the status of the refusal.
fn verdict(reply: &Reply) -> String {
    let is_hidden = reply.status == 404 && reply.code == "RepoNotFound";
    if is_hidden || matches!(reply.status, 401 | 403) {
        return reply.status.to_string();
    }
    assert!(
        reply.status < 500 || reply.status == 501,
        "{} {}",
        reply.status,
        reply.body
    );
    "in".to_owned()
}

fn concrete(path: &str) -> String {
    let filled = path
        .replace("{ns}", "acme")
        .replace("{name}", "repo")
        .replace("{rev}", "main")
        .replace("{branch}", "side")
        .replace("{spec}", "main")
        .replace("{number}", "1")
        .replace("{*path}", "README.md")
        .replace("{prefix}", "default")
        .replace("{repo}", "0")
        .replace("{grant}", "0")
        .replace("{size}", "1");
    let filled = ["{file}", "{hash}", "{sha256}"]
        .iter()
        .fold(filled, |path, name| path.replace(name, HASH));
    assert!(
        !filled.contains('{'),
        "{filled}: the test does not know this part"
    );
    filled + "?e=1&s=00&r=0-1"
}

/// Xet tokens of repositories that the caller may write to, and of another one.
fn xet_tokens(server: &Server, admin: &str, outsider: &str) -> Vec<(&'static str, Option<String>)> {
    let token = |path: &str, token: &str| {
        let reply = call(server, "GET", path, Some(token), "");
        let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        Some(body["accessToken"].as_str().unwrap().to_owned())
    };
    vec![
        (
            "xet read",
            token("/api/models/acme/repo/xet-read-token/main", admin),
        ),
        (
            "xet write",
            token("/api/models/acme/repo/xet-write-token/main", admin),
        ),
        (
            "xet of another",
            token("/api/models/outsider/own/xet-write-token/main", outsider),
        ),
    ]
}

#[test]
fn everybody_gets_what_the_table_says() {
    let server = Server::start();
    let mut callers = callers(&server);
    let token_of = |name: &str| {
        callers
            .iter()
            .find(|caller| caller.0 == name)
            .unwrap()
            .1
            .clone()
            .unwrap()
    };
    let (admin, outsider) = (token_of("admin"), token_of("outsider"));
    for kind in KINDS {
        let body = format!(r#"{{"name":"acme/repo","type":"{kind}","private":true}}"#);
        assert_eq!(
            call(&server, "POST", "/api/repos/create", Some(&admin), &body).status,
            200
        );
    }
    let own = r#"{"name":"outsider/own"}"#;
    assert_eq!(
        call(&server, "POST", "/api/repos/create", Some(&outsider), own).status,
        200
    );
    callers.extend(xet_tokens(&server, &admin, &outsider));

    let names: Vec<&str> = callers.iter().map(|caller| caller.0).collect();
    let mut found = format!("# Columns: {}\n", names.join(", "));
    for (method, path, need) in table() {
        let verdicts: Vec<String> = callers
            .iter()
            .map(|(_, token)| {
                verdict(&call(
                    &server,
                    method.as_str(),
                    &concrete(&path),
                    token.as_deref(),
                    "{}",
                ))
            })
            .collect();
        writeln!(found, "{method} {path} [{need}] {}", verdicts.join(" ")).unwrap();
    }
    for (line, method, path, body) in BODIES {
        let verdicts: Vec<String> = callers
            .iter()
            .map(|(_, token)| {
                // Each caller finds the repositories that the one before may have taken away.
                for name in ["acme/victim", "acme/mover"] {
                    let body = format!(r#"{{"name":"{name}","private":true}}"#);
                    call(&server, "POST", "/api/repos/create", Some(&admin), &body);
                }
                verdict(&call(&server, method, path, token.as_deref(), body))
            })
            .collect();
        writeln!(found, "{method} {path} [{line}] {}", verdicts.join(" ")).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/authorisation.txt");
    if std::env::var_os("SINEW_UPDATE").is_some() {
        std::fs::write(&file, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);
}
