//! What every request meets alike. The order, and the reason for each place, is in [`crate::stack`].
//!
//! A layer is an async function of a call and the service inside it; [`around`] makes it one for tower.

pub mod admit;
mod around;
mod authenticate;
mod deadline;
mod guard;
mod observe;
mod render;

pub use around::around;
pub use authenticate::authenticate;
pub use deadline::deadline;
pub use guard::guard;
pub use observe::observe;
pub use render::render;

use http::Response;
use tower::Service;

use crate::call::Call;
use crate::request::Body;
use crate::wire::error::Fault;

/// A service whose faults are not rendered yet.
pub trait Inner: Service<Call, Response = Response<Body>, Error = Fault, Future: Send> + Send {}

impl<S> Inner for S where S: Service<Call, Response = Response<Body>, Error = Fault, Future: Send> + Send {}
