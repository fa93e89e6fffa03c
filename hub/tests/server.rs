//! What the server does beside its routes: quotas, rate limits, logins by device, TLS, and the audit log.

mod support;

use serde_json::Value;
use sinew_hub::operate;
use sinew_hub::server::Tls;
use std::sync::Arc;
use support::{Server, get, post};

fn agent() -> ureq::Agent {
    ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build(),
    )
}

/// Status and text of a form's answer.
fn form(server: &Server, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
    let mut response = agent()
        .post(format!("{}{path}", server.endpoint()))
        .send_form(fields.iter().copied())
        .unwrap();
    (
        response.status().as_u16(),
        response.body_mut().read_to_string().unwrap(),
    )
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_device_logs_in_once_somebody_confirms() {
    let server = Server::start();
    server
        .run(operate::create_user(
            &server.hub,
            "ada",
            Some("correct horse"),
            false,
        ))
        .unwrap();
    let begin = json(&form(&server, "/oauth/device", &[("client_id", "x")]).1);
    let (code, user_code) = (
        begin["device_code"].as_str().unwrap(),
        begin["user_code"].as_str().unwrap(),
    );
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let ask = || form(&server, "/oauth/token", &[grant, ("device_code", code)]);
    assert_eq!(json(&ask().1)["error"], "authorization_pending");
    let page = get(&server, &format!("/login/device?code={user_code}"));
    assert!(page.contains(user_code), "{page}");
    let confirm = |password: &str| {
        form(
            &server,
            "/login/device",
            &[("code", user_code), ("name", "ada"), ("password", password)],
        )
    };
    assert_eq!(confirm("wrong horse").0, 403);
    assert_eq!(json(&ask().1)["error"], "authorization_pending");
    assert_eq!(confirm("correct horse").0, 200);
    let token = json(&ask().1)["access_token"].as_str().unwrap().to_owned();
    assert_eq!(
        json(&ask().1)["error"],
        "invalid_grant",
        "a code is good once"
    );
    let me = ureq::get(format!("{}/api/whoami-v2", server.endpoint()))
        .header("authorization", format!("Bearer {token}"))
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    assert_eq!(json(&me)["name"], "ada");
}

#[test]
fn a_refused_device_gets_nothing() {
    let server = Server::start();
    server
        .run(operate::create_user(
            &server.hub,
            "ada",
            Some("correct horse"),
            false,
        ))
        .unwrap();
    let begin = json(&form(&server, "/oauth/device", &[]).1);
    let user_code = begin["user_code"].as_str().unwrap();
    let fields = [
        ("code", user_code),
        ("name", "ada"),
        ("password", "correct horse"),
        ("decision", "deny"),
    ];
    assert_eq!(form(&server, "/login/device", &fields).0, 200);
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let answer = form(
        &server,
        "/oauth/token",
        &[
            grant,
            ("device_code", begin["device_code"].as_str().unwrap()),
        ],
    );
    assert_eq!(
        (answer.0, json(&answer.1)["error"].as_str().unwrap()),
        (400, "access_denied")
    );
}

#[test]
fn passwords_cannot_be_guessed_for_long() {
    let server = Server::start();
    for _ in 0..40 {
        assert_eq!(form(&server, "/oauth/device", &[]).0, 200);
    }
    // Before the password is looked at, which takes long on purpose.
    assert_eq!(
        form(
            &server,
            "/login/device",
            &[("name", "admin"), ("password", "guess")]
        )
        .0,
        429
    );
}

#[test]
fn too_many_requests_are_told_to_wait() {
    let server = Server::start_with(|options| options.requests_per_window = Some(3));
    let ask = || {
        agent()
            .get(format!("{}/api/whoami-v2", server.endpoint()))
            .header("authorization", format!("Bearer {}", server.token))
            .call()
            .unwrap()
    };
    let header = |response: &ureq::http::Response<ureq::Body>, name: &str| {
        response.headers()[name].to_str().unwrap().to_owned()
    };
    let first = ask();
    assert!(
        header(&first, "ratelimit").starts_with("\"api\";r=2;t="),
        "{:?}",
        first.headers()
    );
    assert_eq!(
        header(&first, "ratelimit-policy"),
        "\"fixed window\";\"api\";q=3;w=300"
    );
    ask();
    ask();
    let over = ask();
    assert_eq!(over.status().as_u16(), 429);
    assert!(header(&over, "ratelimit").starts_with("\"api\";r=0;t="));
    assert!(header(&over, "retry-after").parse::<u32>().unwrap() <= 300);
}

#[test]
fn quotas_hold_for_users_and_organisations() {
    let server = Server::start();
    server
        .run(operate::create_org(&server.hub, "acme", "admin"))
        .unwrap();
    post(&server, "/api/repos/create", r#"{"name":"acme/data"}"#);
    let batch = |size: u64| {
        let body = format!(
            r#"{{"operation":"upload","objects":[{{"oid":"{}","size":{size}}}]}}"#,
            "a".repeat(64)
        );
        let mut response = agent()
            .post(format!(
                "{}/acme/data.git/info/lfs/objects/batch",
                server.endpoint()
            ))
            .header("authorization", format!("Bearer {}", server.token))
            .send(&body)
            .unwrap();
        (
            response.status().as_u16(),
            response.body_mut().read_to_string().unwrap(),
        )
    };
    assert_eq!(batch(5000).0, 200);
    server
        .run(operate::set_quota(&server.hub, "acme", Some(4000)))
        .unwrap();
    let (status, said) = batch(5000);
    assert!(
        status == 403 && said.contains("limited to 4000 bytes"),
        "{said}"
    );
    server
        .run(operate::set_quota(&server.hub, "acme", None))
        .unwrap();
    assert_eq!(batch(5000).0, 200);
}

#[test]
fn the_audit_log_has_writes_and_private_reads() {
    let server = Server::start();
    post(
        &server,
        "/api/repos/create",
        r#"{"name":"secret","private":true}"#,
    );
    post(&server, "/api/repos/create", r#"{"name":"open"}"#);
    for _ in 0..3 {
        get(&server, "/admin/secret/resolve/main/.gitattributes");
        get(&server, "/admin/open/resolve/main/.gitattributes");
    }
    let mut log = Vec::new();
    let count = server
        .run(operate::export_audit(
            &server.hub,
            &operate::AuditFilter::default(),
            &mut log,
        ))
        .unwrap();
    let log = String::from_utf8(log).unwrap();
    assert_eq!(log.lines().count() as u64, count);
    let events: Vec<Value> = log.lines().map(json).collect();
    let of = |action: &str| {
        events
            .iter()
            .filter(|event| event["action"] == action)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("repo.create").len(), 2, "{log}");
    let reads = of("repo.read");
    assert_eq!(reads.len(), 1, "one for ten minutes: {log}");
    assert_eq!(
        (&reads[0]["actor"], &reads[0]["target"]),
        (&"admin".into(), &"admin/secret".into())
    );
    assert!(!log.contains(&server.token), "no secret is in the log");
}

#[test]
fn the_hub_speaks_tls_with_its_own_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("hub.pem"), folder.path().join("hub.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Tls {
        certificate: certificate.clone(),
        key: key.clone(),
    };
    let server = Server::start_with(|options| options.tls = Some(tls));
    let url = server
        .endpoint()
        .replace("http://127.0.0.1", "https://localhost");
    // A connection that says nothing delays nobody.
    let address = server.endpoint().replace("http://", "");
    let _silent = std::net::TcpStream::connect(address).unwrap();
    let roots = ureq::tls::Certificate::from_pem(made.cert.pem().as_bytes())
        .unwrap()
        .to_owned();
    let roots = ureq::tls::RootCerts::Specific(Arc::new(vec![roots]));
    let tls = ureq::tls::TlsConfig::builder().root_certs(roots).build();
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().tls_config(tls).build());
    let said = agent
        .get(format!("{url}/health"))
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    assert!(said.contains("ok"), "{said}");
    std::fs::write(&key, "no key").unwrap();
    let options = sinew_hub::server::Options {
        tls: Some(Tls { certificate, key }),
        ..sinew_hub::server::Options::in_folder(folder.path())
    };
    let error = server
        .run(sinew_hub::server::Hub::open(&options))
        .unwrap_err()
        .to_string();
    assert!(error.contains("hub.key"), "{error}");
}
