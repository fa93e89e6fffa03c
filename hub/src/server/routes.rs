//! The table of routes: what each one needs, and who answers it. Source of the paths: reference of the Hub's
//! protocol, as the clients call it.

use super::access::{Guard, Need, guard};
use super::{
    Hub, commits, compare, copies, device, discussions, git, grants, identity, info, lfs,
    lifecycle, refs, resolve, tree, upload, xet,
};
use crate::error::{Code, Error};
use crate::repos::names::Kind;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use std::sync::Arc;

/// One route.
struct Route {
    method: Method,
    path: String,
    need: Need,
    kind: Option<Kind>,
    service: MethodRouter<Arc<Hub>>,
}

fn route<H, T>(method: Method, path: &str, need: Need, handler: H) -> Route
where
    H: Handler<T, Arc<Hub>>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
    Route {
        method,
        path: path.to_owned(),
        need,
        kind: None,
        service: on(filter, handler),
    }
}

fn get<H: Handler<T, Arc<Hub>>, T: 'static>(path: &str, need: Need, handler: H) -> Route {
    route(Method::GET, path, need, handler)
}

fn post<H: Handler<T, Arc<Hub>>, T: 'static>(path: &str, need: Need, handler: H) -> Route {
    route(Method::POST, path, need, handler)
}

fn put<H: Handler<T, Arc<Hub>>, T: 'static>(path: &str, need: Need, handler: H) -> Route {
    route(Method::PUT, path, need, handler)
}

fn delete<H: Handler<T, Arc<Hub>>, T: 'static>(path: &str, need: Need, handler: H) -> Route {
    route(Method::DELETE, path, need, handler)
}

/// All routes with what they need, for the test that walks them.
pub fn table() -> Vec<(Method, String, &'static str)> {
    let need = |need: Need| match need {
        Need::Nothing => "nothing",
        Need::Anybody => "anybody",
        Need::Login => "login",
        Need::Read => "read",
        Need::Write => "write",
        Need::Signature => "signature",
        Need::XetRead => "xet-read",
        Need::XetWrite => "xet-write",
    };
    let routes = all().into_iter();
    routes
        .map(|route| (route.method, route.path, need(route.need)))
        .collect()
}

fn all() -> Vec<Route> {
    let mut routes = global();
    routes.extend(cas());
    for kind in Kind::ALL {
        let of_kind = api(kind).into_iter().chain(web(kind)).map(|mut route| {
            route.kind = Some(kind);
            route
        });
        routes.extend(of_kind);
    }
    routes
}

fn global() -> Vec<Route> {
    vec![
        get("/health", Need::Nothing, identity::health),
        get("/api/whoami-v2", Need::Login, identity::whoami),
        get("/api/agent-harnesses", Need::Nothing, identity::harnesses),
        get("/api/telemetry/{*path}", Need::Nothing, identity::telemetry),
        post("/api/credentials/revoke", Need::Nothing, identity::revoke),
        post("/oauth/device", Need::Nothing, device::begin),
        post("/oauth/token", Need::Nothing, device::token),
        get("/login/device", Need::Nothing, device::page),
        post("/login/device", Need::Nothing, device::confirm),
        post("/api/validate-yaml", Need::Nothing, upload::validate_yaml),
        post("/api/repos/create", Need::Login, lifecycle::create),
        delete("/api/repos/delete", Need::Login, lifecycle::delete),
        post("/api/repos/move", Need::Login, lifecycle::rename),
    ]
}

/// Xet's content-addressed store.
fn cas() -> Vec<Route> {
    vec![
        get(
            "/v1/reconstructions/{file}",
            Need::XetRead,
            xet::reconstruction_v1,
        ),
        get(
            "/v2/reconstructions/{file}",
            Need::XetRead,
            xet::reconstruction_v2,
        ),
        get("/v1/chunks/{prefix}/{hash}", Need::XetRead, xet::chunk),
        post("/v1/xorbs/{prefix}/{hash}", Need::XetWrite, xet::put_xorb),
        get("/v1/xorbs/{prefix}/{hash}", Need::XetWrite, xet::head_xorb),
        post(
            "/v1/xorb-grants/{prefix}/{hash}",
            Need::XetWrite,
            grants::grant,
        ),
        post(
            "/v1/xorb-commits/{prefix}/{hash}/grant/{grant}",
            Need::XetWrite,
            grants::commit,
        ),
        post("/v1/shards", Need::XetWrite, xet::put_shard_v1),
        post("/v2/shards", Need::XetWrite, xet::put_shard_v2),
        post("/v1/telemetry", Need::Nothing, identity::telemetry),
        get("/xet/xorbs/{hash}", Need::Signature, xet::xorb_bytes),
        put(
            "/lfs/objects/{repo}/{sha256}/{size}",
            Need::Signature,
            lfs::put,
        ),
        get(
            "/lfs/objects/{repo}/{sha256}/{size}",
            Need::Signature,
            lfs::get,
        ),
        post(
            "/lfs/objects/{repo}/{sha256}/{size}",
            Need::Signature,
            lfs::verify_signed,
        ),
    ]
}

/// Routes of the API below `/api/{kind}/{namespace}/{name}`.
fn api(kind: Kind) -> Vec<Route> {
    let list = format!("/api/{}", kind.plural());
    let repo = format!("{list}/{{ns}}/{{name}}");
    let at = |rest: &str| format!("{repo}/{rest}");
    let mut routes = vec![
        get(&list, Need::Anybody, move |visit, hub, query| {
            info::list(kind, visit, hub, query)
        }),
        get(&repo, Need::Read, info::head),
        get(&at("revision/{rev}"), Need::Read, info::revision),
        get(&at("auth-check"), Need::Read, identity::auth_check),
        get(&at("auth-check/read"), Need::Read, identity::auth_check),
        get(&at("auth-check/write"), Need::Write, identity::auth_check),
        put(&at("settings"), Need::Write, lifecycle::settings),
    ];
    routes.extend([
        get(&at("tree/{rev}"), Need::Read, tree::root),
        get(&at("tree/{rev}/{*path}"), Need::Read, tree::folder),
        post(&at("paths-info/{rev}"), Need::Read, tree::paths_info),
        get(&at("commits/{rev}"), Need::Read, commits::log),
        get(&at("refs"), Need::Read, refs::list),
        post(&at("branch/{branch}"), Need::Write, refs::create_branch),
        delete(&at("branch/{branch}"), Need::Write, refs::delete_branch),
        post(&at("tag/{rev}"), Need::Write, refs::create_tag),
        delete(&at("tag/{rev}"), Need::Write, refs::delete_tag),
        post(&at("super-squash/{branch}"), Need::Write, commits::squash),
        post(&at("preupload/{rev}"), Need::Write, upload::preupload),
        post(&at("commit/{rev}"), Need::Write, commits::commit),
        get(&at("compare/{spec}"), Need::Read, compare::raw),
        get(&at("discussions"), Need::Read, discussions::list),
        get(&at("discussions/{number}"), Need::Read, discussions::detail),
        post(&at("discussions"), Need::Write, discussions::create),
        get(&at("lfs-files"), Need::Write, copies::list),
        post(&at("lfs-files/duplicate"), Need::Read, copies::copy_files),
        post(&at("duplicate"), Need::Read, copies::duplicate),
        get(&at("xet-read-token/{rev}"), Need::Read, xet::read_token),
        get(&at("xet-write-token/{rev}"), Need::Write, xet::write_token),
    ]);
    routes
}

/// Routes of a repository's files and of git.
fn web(kind: Kind) -> Vec<Route> {
    let repo = format!("/{}{{ns}}/{{name}}", kind.prefix());
    let at = |rest: &str| format!("{repo}/{rest}");
    vec![
        get(&at("resolve/{rev}/{*path}"), Need::Read, resolve::file),
        get(&at("raw/{rev}/{*path}"), Need::Read, resolve::raw),
        get(&at("info/refs"), Need::Read, git::info_refs),
        post(&at("git-upload-pack"), Need::Read, git::upload_pack),
        post(&at("git-receive-pack"), Need::Write, git::receive_pack),
        post(&at("info/lfs/objects/batch"), Need::Read, lfs::batch),
        post(&at("info/lfs/objects/verify"), Need::Write, lfs::verify),
    ]
}

/// Builds the router from the table.
pub(super) fn router(hub: &Arc<Hub>) -> Router {
    let mut router: Router<Arc<Hub>> = Router::new();
    for route in all() {
        let state = Guard {
            hub: Arc::clone(hub),
            need: route.need,
            kind: route.kind,
        };
        let guard = axum::middleware::from_fn_with_state(state, guard);
        router = router.route(&route.path, route.service.layer(guard));
    }
    router
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(hub))
}

/// Names without a namespace end here too: `/api/models/gpt2`.
async fn unknown() -> Response {
    Error::missing(
        Code::RepoNotFound,
        "there is nothing at this address; names of repositories have two parts, namespace/name",
    )
    .into_response()
}
