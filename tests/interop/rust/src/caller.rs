//! Who a step speaks for: a connection and a token.

use std::error::Error;

use tonic::codegen::InterceptedService;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::hibana::executor_client::ExecutorClient;
use crate::hibana::module_registry_client::ModuleRegistryClient;

/// Adds the token to what a call sends.
#[derive(Clone)]
pub struct Authorized(Option<MetadataValue<Ascii>>);

impl Interceptor for Authorized {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

pub struct Caller {
    pub registry: ModuleRegistryClient<InterceptedService<Channel, Authorized>>,
    pub executor: ExecutorClient<InterceptedService<Channel, Authorized>>,
}

impl Caller {
    /// Opens a connection with the first call; without a token none is sent.
    pub fn connect(address: &str, token: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
        let token = token.map(|token| format!("Bearer {token}").parse()).transpose()?;
        Ok(Self {
            registry: ModuleRegistryClient::with_interceptor(channel.clone(), Authorized(token.clone())),
            executor: ExecutorClient::with_interceptor(channel, Authorized(token)),
        })
    }
}
