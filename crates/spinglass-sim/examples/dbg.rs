use spinglass_sim::scenario::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut p = |_: f64| ();
    let t = std::time::Instant::now();
    match a[1].as_str() {
        "swarm" => {
            let (s, e): (u64, u64) = (a[2].parse().unwrap(), a[3].parse().unwrap());
            let mut bad = 0;
            for s in s..e {
                let r = spinglass_sim::swarm::swarm(s);
                if !r.violations.is_empty() {
                    bad += 1;
                    println!(
                        "seed {s} {:?}",
                        r.violations.iter().take(3).map(|v| v.to_string()).collect::<Vec<_>>()
                    );
                }
            }
            println!("bad {bad}");
        }
        "speed" => println!("{:#?}", speed::run(a[2].parse().unwrap(), 5, 1, &mut p)),
        "perturb" => {
            for pr in [0.0, 0.5, 0.9] {
                for sl in [0, 25] {
                    let mut q = perturb::Parameters::paper(a[2].parse().unwrap(), sl, pr);
                    q.samples = 20;
                    let r = perturb::run(&q, &mut p);
                    println!(
                        "{pr} {sl}: share {:.4} cv {:.4} gaps {} repairs {:.2} ev {}",
                        r.share, r.throughput.variation, r.healthy_gaps, r.repairs, r.events
                    );
                }
            }
        }
        "loss" => {
            for l in [0.2, 0.5] {
                println!(
                    "{:#?}",
                    loss::run(
                        &loss::Parameters {
                            members: 32,
                            loss: l,
                            rate: 1000,
                            bytes: 1024,
                            seconds: 10,
                            multicast: a[2] == "m",
                            seed: 1
                        },
                        &mut p
                    )
                );
            }
        }
        "analysis" => {
            for (m, l) in [(0.01, 0.0), (0.05, 0.05), (0.2, 0.2), (0.5, 0.2)] {
                let r = analysis::run(
                    &analysis::Parameters {
                        members: a[2].parse().unwrap(),
                        missing: m,
                        loss: l,
                        rounds: 10,
                        groups: a[3].parse().unwrap(),
                        seed: 1,
                    },
                    &mut p,
                );
                println!("{m} {l}");
                for x in r.rounds {
                    println!(
                        "  r{} model {:.3e} counted {:.3e} +- {:.1e} {}",
                        x.round, x.model, x.counted, x.error, x.agrees
                    );
                }
            }
        }
        "bim" => println!(
            "{:#?}",
            bimodality::run(
                &bimodality::Parameters {
                    members: 50,
                    messages: a[2].parse().unwrap(),
                    loss: 0.05,
                    crash: 0.001,
                    seed: 1
                },
                &mut p
            )
        ),
        "wan" => {
            for (l, s) in [(0.0, 0), (0.05, 5)] {
                println!(
                    "{:?}",
                    wan::run(
                        &wan::Parameters {
                            members: a[2].parse().unwrap(),
                            messages: 8,
                            loss: l,
                            sleeping_percent: s,
                            bytes: 1024,
                            seed: 1
                        },
                        &mut p
                    )
                );
            }
        }
        "flat" => {
            for n in [32, 128, 512, 2048] {
                println!(
                    "{:?}",
                    flat::run(
                        &flat::Parameters {
                            members: n,
                            rate: 100,
                            bytes: 1000,
                            loss: 0.01,
                            seconds: 10,
                            seed: 1
                        },
                        &mut p
                    )
                );
            }
        }
        _ => {}
    }
    println!("took {:?}", t.elapsed());
}
