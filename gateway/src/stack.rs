//! THE layers, outermost first. Each is here because every request meets it alike; steps of answering a chat
//! are calls in [`crate::complete`].

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder};

use crate::app::App;
use crate::call::Call;
use crate::layer::admit::admit;
use crate::layer::{around, authenticate, deadline, guard, observe, render};
use crate::request::Body;
use crate::route::route;

/// The service of every connection.
pub fn stack(
    app: &Arc<App>,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ use<> {
    let (rendering, admitting, authenticating, routing) =
        (Arc::clone(app), Arc::clone(app), Arc::clone(app), Arc::clone(app));
    ServiceBuilder::new()
        // An id and a start time first: everything after refers to them.
        .map_request(Call::new)
        // Outside of rendering, so that it sees and names every response, errors included.
        .layer(around(observe))
        // Every fault of what is inside becomes a response here and nowhere else.
        .layer(around(move |call, next| render(Arc::clone(&rendering), call, next)))
        // Inside rendering, so that a panic is answered in the caller's dialect too.
        .layer(around(guard))
        // Before anything costs work: an overloaded gateway says so at once.
        .layer(around(move |call, next| admit(Arc::clone(&admitting), call, next)))
        // Before the body is read: strangers get no memory.
        .layer(around(move |call, next| authenticate(Arc::clone(&authenticating), call, next)))
        // Around all that can wait: body, budget, engine.
        .layer(around(deadline))
        // Boxed once, here: what the layers above pass around is a pointer, not the whole request's state.
        .service(tower::service_fn(move |call| Box::pin(route(Arc::clone(&routing), call))))
}
