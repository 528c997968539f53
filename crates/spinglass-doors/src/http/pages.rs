//! The console: a page that is part of the program.

use axum::http::header;
use axum::response::{IntoResponse, Response};

const HTML: &str = include_str!("../console/index.html");
const STYLE: &str = include_str!("../console/console.css");
const SCRIPT: &str = include_str!("../console/console.js");
/// What is there, for programs that read such descriptions.
const OPENAPI: &str = include_str!("openapi.json");
/// The page runs nothing but its own script, and stands in no other page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src data:; connect-src 'self'; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'none'";

pub(super) async fn page() -> Response {
    asset("text/html; charset=utf-8", HTML)
}

pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

pub(super) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

pub(super) async fn openapi() -> Response {
    asset("application/json", OPENAPI)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // The program may be another one tomorrow.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
