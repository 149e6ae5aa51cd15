//! vcrpy: in the process of the shop, in place of its HTTP library. By default it goes by method and URL; strictly, by
//! headers and body as well.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    Matching, StandIn,
    drive::Shop,
    exchanges::{Recording, headers, text},
};
use crate::{services::source, tools};

struct Vcrpy {
    python: PathBuf,
    cassette: PathBuf,
    matching: Matching,
    inventory: String,
    pricing: String,
}

/// Runs the shop with recorded calls: `CASSETTE MATCHERS SHOP`.
const RUN: &str = "import runpy, sys, vcr
cassette, matchers, shop = sys.argv[1:]
recorder = vcr.VCR(record_mode='none', serializer='json', match_on=matchers.split(','))
with recorder.use_cassette(cassette):
    runpy.run_path(shop, run_name='__main__')
";

pub fn start(recording: &Recording, matching: Matching, folder: &Path) -> io::Result<Box<dyn StandIn>> {
    let absent = || io::Error::other("not installed: run benches/install.sh");
    let venv = tools::folder().map(|folder| folder.join("venv/bin")).ok_or_else(absent)?;
    if !venv.join("../lib").canonicalize().is_ok_and(|lib| has_vcrpy(&lib)) {
        return Err(absent());
    }
    let cassette = folder.join("recorded.json");
    fs::write(&cassette, interactions(recording).to_string())?;
    let url = |address| format!("http://{address}");
    let (inventory, pricing) = (url(recording.inventory), url(recording.pricing));
    Ok(Box::new(Vcrpy { python: venv.join("python"), cassette, matching, inventory, pricing }))
}

fn has_vcrpy(lib: &Path) -> bool {
    let pythons = fs::read_dir(lib).into_iter().flatten().flatten();
    pythons.into_iter().any(|python| python.path().join("site-packages/vcr").is_dir())
}

fn interactions(recording: &Recording) -> Value {
    let interactions = recording.calls.iter().map(|call| {
        let body = if call.request.body.is_empty() { Value::Null } else { json!(text(&call.request)) };
        json!({
            "request": {
                "method": call.request.method(), "uri": call.url(), "body": body,
                "headers": headers(&call.request, |value| json!([value])),
            },
            "response": {
                "status": {"code": call.response.status(), "message": call.response.reason()},
                "headers": headers(&call.response, |value| json!([value])),
                "body": {"string": text(&call.response)},
            },
        })
    });
    json!({"version": 1, "interactions": interactions.collect::<Vec<_>>()})
}

impl StandIn for Vcrpy {
    fn begin(&mut self) -> io::Result<Shop> {
        let more = if self.matching == Matching::Strict { ",headers,body" } else { "" };
        let matchers = format!("method,scheme,host,port,path,query{more}");
        let command = [
            self.python.display().to_string(),
            "-c".to_owned(),
            RUN.to_owned(),
            self.cassette.display().to_string(),
            matchers,
            source("shop.py"),
        ];
        Ok(Shop { command: command.into(), inventory: self.inventory.clone(), pricing: self.pricing.clone() })
    }

    /// Whom it refuses gets an exception, which shows in the shop's answer.
    fn refused(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}
