//! A custom controller on a SQLite file: no cluster, no server, one program.
//!
//! A `Website` says where a site is and from which regions it is to be probed. The controller keeps exactly one `Probe`
//! a region for it and says so in its `Ready` condition. Run it, with a number of sites to begin with (1 unless told):
//!
//! ```text
//! cargo run -p website -- 3
//! ```
//!
//! You see `site-1 is ready: 2 probes` and so on, and the objects are in `websites.db`. Stop it with Ctrl-C or kill it
//! at any moment: run again, it goes on where the file is, and ends where it would have ended.

use std::collections::BTreeSet;

use orion_sdk::prelude::*;

#[derive(Resource, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Website, group = "example.org", version = "v1", status = WebsiteStatus)]
#[resource(column("URL", ".spec.url"), validate = check)]
pub struct WebsiteSpec {
    pub url: String,
    pub regions: BTreeSet<String>,
}
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct WebsiteStatus {
    pub conditions: Conditions,
}
#[derive(Resource, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Probe, group = "example.org", version = "v1", selectable = ".spec.region")]
pub struct ProbeSpec {
    pub region: String,
    pub target: String,
}

fn check(site: &Website, _old: Option<&Website>) -> Vec<Issue> {
    let valid = site.spec.url.starts_with("https://");
    (!valid).then(|| Issue::at(".spec.url", "must begin with https://")).into_iter().collect()
}
fn probe(site: &Website, region: &str) -> Probe {
    let spec = ProbeSpec { region: region.into(), target: site.spec.url.clone() };
    Probe::new(format!("{}-{region}", site.name()), spec).owned_by(site)
}
fn sample(number: usize) -> Website {
    let regions = ["eu", "us"].map(String::from).into();
    Website::new(format!("site-{number}"), WebsiteSpec { url: format!("https://{number}.example.org"), regions })
}

pub type Kinds = (Website, Probe);
struct WebsiteReconciler {
    probes: Lister<Probe>,
}
impl Reconciler for WebsiteReconciler {
    type Key = Key<Website>;

    async fn reconcile(&self, key: &Key<Website>, run: &Run<Key<Website>>) -> Result<Action> {
        let Some(site) = run.object() else { return Ok(Action::Done) };
        let wanted = site.spec.regions.iter().map(|region| probe(&site, region));
        let ready = run.condition("Ready", true, "Probed", site.spec.regions.len());
        let mut batch = Batch::new();
        batch.exactly(run.read(&self.probes).owned_by(&site), wanted);
        batch.status(&site, WebsiteStatus { conditions: site.status.conditions.clone().with(ready) });
        if run.commit(batch).await?.version().is_some() {
            println!("{} is ready: {} probes", key.name(), site.spec.regions.len());
        }
        Ok(Action::Done)
    }
}

pub fn website_manager(client: Client) -> Manager {
    let mut manager = Manager::new(client);
    let sites = manager.informer::<Website>(Select::all());
    let probes = manager.informer::<Probe>(Select::all());
    let reconciler = WebsiteReconciler { probes: probes.lister() };
    manager.add(Controller::new("website", &sites).owns(&probes).reconciler(reconciler));
    manager
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = orion_sdk::connect::<Kinds>("sqlite:websites.db").await?;
    let sites = std::env::args().nth(1).map_or(Ok(1), |count| count.parse())?;
    for site in (1..=sites).map(sample) {
        if let Err(error) = client.create(&site).await
            && !error.is_conflict()
        {
            return Err(error.into());
        }
    }
    website_manager(client).run_until(tokio::signal::ctrl_c()).await?;
    Ok(())
}
