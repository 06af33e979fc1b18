//! A server to try things on: `cargo run -p kube-double --example serve -- kubeconfig.yaml [manifest.yaml …]`, and then
//! `kubectl --kubeconfig kubeconfig.yaml get namespaces`. It lasts until it is killed.

use std::path::Path;

use kube_double::{ADMIN, ApiServer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let kubeconfig = arguments.next().ok_or("name the kubeconfig file to write, and manifests to install")?;
    let server = ApiServer::start_with_tls().await?;
    for manifest in arguments {
        server.install(&std::fs::read_to_string(manifest)?)?;
    }
    server.kubeconfig(ADMIN, Path::new(&kubeconfig))?;
    std::future::pending::<()>().await;
    Ok(())
}
