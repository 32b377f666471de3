//! `orion init`: a first orion.yaml.

use crate::{cli, failure::Failure, out::say};

const FIRST_CONFIG: &str = r#"# What Orion runs here. Start it with `orion up`, change it, then `orion apply`.
apiVersion: orion/v1
kind: Config
spec:
  services:
    - name: web
      # Any command: it is split as a shell would split words. `shell: true` runs it through /bin/sh.
      runtime: none
      command: python3 -u -m http.server 8000 --bind 127.0.0.1
      replicas: 1
      ports: [{ name: http, port: 8000 }]
      # env: { MODE: development }
      # dependencies: [database]
      # update: { maxSurge: 1, maxUnavailable: 0, minReady: 5s }

  # Work that ends: it runs once for each version of its definition.
  # jobs:
  #   - name: migrate
  #     runtime: none
  #     command: ./migrate.sh
"#;

/// Writes the file, unless it is there.
pub(crate) fn run(init: &cli::Init) -> Result<(), Failure> {
    let shown = init.file.display();
    if init.file.exists() && !init.force {
        return Err(Failure::refused(format!("{shown} is there already; --force overwrites it")));
    }
    std::fs::write(&init.file, FIRST_CONFIG).map_err(|e| Failure::refused(format!("cannot write {shown}: {e}")))?;
    say!("wrote {shown}; start it with `orion up`");
    Ok(())
}
