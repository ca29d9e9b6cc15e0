//! What browsers need before pages of any site may call: CORS.
//!
//! The write key says whose events they are, and every site is public: any origin may call, with
//! credentials and any header. An answer names the origin that asked, since browsers take no `*`
//! beside credentials.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

/// For how long a browser need not ask again, in seconds; RudderStack's figure.
const REMEMBERED: u32 = 900;

/// The answer to a browser that asks whether it may call.
pub(super) fn preflight(asked: &HeaderMap) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, OPTIONS");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED.into());
    response
}

/// Lets the page that asked read an answer, whatever it says.
pub(super) fn open(response: &mut Response, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return };
    let [yes, shown] = ["true", "Retry-After"].map(HeaderValue::from_static);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, shown);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(response: &'a Response, name: &str) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn any_page_may_call_with_any_header() {
        let mut asked = HeaderMap::new();
        asked.insert("access-control-request-headers", "authorization, x-own".parse().unwrap());
        let origin = HeaderValue::from_static("https://shop.example");

        let mut response = preflight(&asked);
        open(&mut response, Some(origin));

        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(text(&response, "access-control-allow-origin"), "https://shop.example");
        assert_eq!(text(&response, "access-control-allow-credentials"), "true");
        assert_eq!(text(&response, "access-control-allow-headers"), "authorization, x-own");
        assert!(text(&response, "access-control-allow-methods").contains("POST"));
        assert_eq!(text(&response, "access-control-max-age"), "900");
        assert_eq!(text(&response, "vary"), "Origin");
    }

    #[test]
    fn who_is_no_browser_gets_no_word_of_it() {
        let mut response = Response::default();

        open(&mut response, None);

        assert_eq!(text(&response, "access-control-allow-origin"), "");
    }
}
