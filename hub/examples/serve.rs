//! A hub in a folder, with a first administrator whose token is printed.
//!
//! `cargo run -p sinew-hub --example serve -- FOLDER [ADDRESS]`, then `HF_ENDPOINT=http://ADDRESS hf …`.

use sinew_hub::server::{Hub, Options};
use std::error::Error;
use std::path::Path;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("give a folder for the hub's data")?;
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:8010".to_owned());
    let hub = Hub::open(&Options::in_folder(Path::new(&folder))).await?;
    if let Some(token) = hub.first_admin("admin").await? {
        println!("token of admin: {token}");
    }
    let listener = TcpListener::bind(&address).await?;
    println!("hub at http://{}", listener.local_addr()?);
    hub.serve(listener, async {
        // Without a handler ctrl-c ends the process at once, which loses nothing either.
        let _ = tokio::signal::ctrl_c().await;
    })
    .await?;
    Ok(())
}
