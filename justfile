# The project's habits. `just` lists them.

default:
    @just --list

# Start the hello example on an embedded SQLite file.
run:
    cargo run --release -- up -f examples/hello/orion.yaml

# Everything that needs no server and no browser.
test:
    cargo test --workspace

fmt:
    cargo fmt --all

lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Licences, advisories, banned crates (needs cargo-deny).
deny:
    cargo deny check

# Measurements beside the machine's own limits (release build).
bench:
    cargo build --release --bins -p orion-manager -p orion-benches
    cargo run --release -p orion-benches

# What the project's server runs on each submission.
ci:
    .ci/run
