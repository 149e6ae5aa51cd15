//! The schemas of messages: which fields they have, by the descriptor sets that compilers of Protocol Buffers write.

use std::{fmt, path::PathBuf, sync::Arc};

use prost_reflect::{
    DescriptorError, DescriptorPool, MessageDescriptor,
    prost::{DecodeError, Message as _},
    prost_types::FileDescriptorSet,
};
use regress_protocols::Request;
use sha2::{Digest, Sha256};

use super::rules::Applied;

/// Descriptor sets, in the order given. Cheap to clone.
#[derive(Clone, Default)]
pub struct Schemas(Arc<Sets>);

#[derive(Default)]
struct Sets {
    pools: Vec<DescriptorPool>,
    /// Of what the files have.
    digest: [u8; 32],
}

/// Why a file has no schemas.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It is something else.
    #[error("{} is no descriptor set of Protocol Buffers", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// It is one, of no use.
    #[error("the descriptor set {} cannot be used", path.display())]
    Descriptors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DescriptorError,
    },
    /// It describes nothing.
    #[error("the descriptor set {} has no messages", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl SchemaError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "make it with `protoc --include_imports --descriptor_set_out=FILE *.proto` or `buf build -o FILE.binpb`"
    }
}

impl Schemas {
    /// No schemas: fields are known by their numbers.
    pub fn none() -> Schemas {
        Schemas::default()
    }

    /// The schemas in files with this content, each a `FileDescriptorSet` (or an image of buf, which is one) with all that it
    /// imports. What several know is taken from the first.
    ///
    /// # Errors
    /// The first file that is none.
    pub fn read(files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) -> Result<Schemas, SchemaError> {
        let mut sets = Sets::default();
        let mut digest = Sha256::new();
        for (path, content) in files {
            digest.update((content.len() as u64).to_be_bytes());
            digest.update(&content);
            sets.pools.push(pool(path, &content)?);
        }
        sets.digest = digest.finalize().into();
        Ok(Schemas(Arc::new(sets)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.pools.is_empty()
    }

    /// The same exactly for the same files.
    pub fn digest(&self) -> &[u8] {
        &self.0.digest
    }

    /// What is known of a request, without any rule.
    pub fn of_request<'m>(&self, request: impl Into<Request<'m>>) -> Applied {
        self.applied(request.into(), Schemas::request)
    }

    /// What is known of a response to that request, without any rule.
    pub fn of_response<'m>(&self, request: impl Into<Request<'m>>) -> Applied {
        self.applied(request.into(), Schemas::response)
    }

    fn applied(&self, request: Request<'_>, side: impl Fn(&Schemas, &str) -> Schema) -> Applied {
        match self.is_empty() {
            true => Applied::none(),
            false => Applied::of(side(self, &request.operation().to_string())),
        }
    }

    /// What a request of this operation (`POST /shop.Stock/Get`) has in its body.
    pub(super) fn request(&self, operation: &str) -> Schema {
        self.of(operation, |method| method.input())
    }

    /// What a response to it has.
    pub(super) fn response(&self, operation: &str) -> Schema {
        self.of(operation, |method| method.output())
    }

    fn of(&self, operation: &str, side: impl Fn(prost_reflect::MethodDescriptor) -> MessageDescriptor) -> Schema {
        if self.is_empty() {
            return Schema::default();
        }
        // What stands before the service is a prefix, as Twirp has one.
        let mut segments = operation.rsplit('/');
        let (method, service) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        let services = self.0.pools.iter().filter_map(|pool| pool.get_service_by_name(service));
        let found = services.flat_map(|service| service.methods().find(|known| known.name() == method)).next();
        Schema { schemas: self.clone(), message: found.map(side) }
    }
}

fn pool(path: PathBuf, content: &[u8]) -> Result<DescriptorPool, SchemaError> {
    let mut set = match FileDescriptorSet::decode(content) {
        Ok(set) => set,
        Err(source) => return Err(SchemaError::Format { path, source }),
    };
    for file in &mut set.file {
        // Of what editions say, proto3 says the same, but for defaults and lists that are not packed where they could be.
        if file.syntax.as_deref() == Some("editions") {
            file.syntax = Some("proto3".to_owned());
        }
    }
    match DescriptorPool::from_file_descriptor_set(set) {
        Ok(pool) if pool.all_messages().len() == 0 => Err(SchemaError::Empty { path }),
        Ok(pool) => Ok(pool),
        Err(source) => Err(SchemaError::Descriptors { path, source }),
    }
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} descriptor sets", self.0.pools.len())
    }
}

/// What is known of the messages in one body.
#[derive(Clone, Debug, Default)]
pub(super) struct Schema {
    schemas: Schemas,
    /// By its method.
    message: Option<MessageDescriptor>,
}

impl Schema {
    /// The type of the messages in a body with that content type, which may name it (`application/x-protobuf; proto=shop.Item`).
    pub(super) fn of_body(&self, content_type: &str) -> Option<MessageDescriptor> {
        let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
        let is_type = |name: &str| ["proto", "messagetype"].contains(&name.trim().to_ascii_lowercase().as_str());
        let mut named = parameters.filter(|(name, _)| is_type(name)).map(|(_, value)| value.trim().trim_matches('"'));
        let find = |name: &str| self.schemas.0.pools.iter().find_map(|pool| pool.get_message_by_name(name));
        self.message.clone().or_else(|| find(named.next()?))
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::prost_types::FileDescriptorProto;
    use regress_protocols::{http1::Message, http2};

    use super::*;
    use crate::diff::{Lens, RuleText, Rules, canonical_request, requests, responses};

    const SHOP: &[u8] = include_bytes!("../../../tests/services/shop.binpb");

    fn read(content: &[u8]) -> Result<Schemas, SchemaError> {
        Schemas::read([(PathBuf::from("shop.binpb"), content.to_vec())])
    }

    fn ask(method: &str, message: &[u8]) -> Message {
        let framed = [&[0, 0, 0, 0, message.len() as u8], message].concat();
        http2::request("POST", method, &[("content-type", "application/grpc")], framed)
    }

    fn paths(schemas: &Schemas, old: &Message, new: &Message) -> Vec<String> {
        let applied = schemas.of_request(old);
        let found = requests(old, new, &Lens::of(applied.clone()));
        assert_eq!(found.is_empty(), canonical_request(old, &applied) == canonical_request(new, &applied));
        found.into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn a_method_names_the_fields_of_both_its_messages() {
        let schemas = read(SHOP).unwrap();
        let [old, new] = [b"\x08\x07\x12\x04shop", b"\x08\x08\x12\x04shop"].map(|body| ask("/stock.Stock/Get", body));
        assert_eq!(paths(&schemas, &old, &new), ["body/0/id"]);
        assert_eq!(paths(&Schemas::none(), &old, &new), ["body/0/1"]);
        let response = |body: &[u8]| {
            http2::response(200, &[("content-type", "application/grpc+proto")], body.to_vec(), &[("grpc-status", "0")])
        };
        let [first, second] = [&b"\0\0\0\0\x02\x18\x07"[..], b"\0\0\0\0\x02\x18\x08"].map(response);
        let found = responses(&first, &second, &Lens::of(schemas.of_response(&old)));
        assert_eq!(found.iter().map(|found| found.path.as_str()).collect::<Vec<_>>(), ["body/0/quantity"]);
    }

    #[test]
    fn a_method_that_is_not_known_leaves_numbers() {
        let schemas = read(SHOP).unwrap();
        for method in ["/stock.Stock/Sell", "/other.Stock/Get", "/Get", "/"] {
            assert_eq!(paths(&schemas, &ask(method, b"\x08\x07"), &ask(method, b"\x08\x08")), ["body/0/1"], "{method}");
        }
        assert_eq!(
            paths(&schemas, &ask("/stock.Stock/Get", b"\x08\x07"), &ask("/stock.Stock/Find", b"\x08\x08")),
            ["target/path/2", "body/0/id"]
        );
    }

    #[test]
    fn a_content_type_may_name_the_message() {
        let schemas = read(SHOP).unwrap();
        let told = |content_type: &str| {
            let [old, new] = [b"\x08\x07", b"\x08\x08"]
                .map(|body| Message::request("POST", "/", &[("Content-Type", content_type)], body.to_vec()));
            paths(&schemas, &old, &new)
        };
        assert_eq!(told("application/x-protobuf; proto=stock.Item"), ["body/id"]);
        assert_eq!(told("application/protobuf;messageType=\"stock.Item\""), ["body/id"]);
        assert_eq!(told("application/x-protobuf; proto=stock.Other"), ["body/1"]);
        let twirp = |body: &[u8]| {
            let fields = [("Content-Type", "application/protobuf")];
            Message::request("POST", "/twirp/stock.Stock/Get", &fields, body.to_vec())
        };
        assert_eq!(paths(&schemas, &twirp(b"\x08\x07"), &twirp(b"\x08\x08")), ["body/id"]);
    }

    #[test]
    fn rules_name_fields_as_differences_do() {
        let path = "request/body/*/id".to_owned();
        let rule = RuleText { path, effect: "type".to_owned(), ..RuleText::default() };
        let rules = Rules::new(vec![rule]).unwrap();
        let [old, new] = [b"\x08\x07", b"\x08\x08"].map(|body| ask("/stock.Stock/Get", body));
        let counts = |rules: &Rules| {
            let lens = Lens::of(rules.for_request(None, "stock", "POST /stock.Stock/Get"));
            requests(&old, &new, &lens).iter().filter(|found| found.counts()).count()
        };
        assert_eq!(counts(&rules), 1);
        assert_eq!(counts(&rules.with_schemas(read(SHOP).unwrap())), 0);
    }

    #[test]
    fn what_is_no_descriptor_set_is_refused() {
        assert!(matches!(read(b"syntax = \"proto3\";"), Err(SchemaError::Format { .. })));
        assert!(matches!(read(b""), Err(SchemaError::Empty { .. })));
        // Without what it imports.
        let mut set = FileDescriptorSet::decode(SHOP).unwrap();
        set.file.retain(|file| file.name() == "shop.proto");
        let error = read(&set.encode_to_vec()).unwrap_err();
        assert!(matches!(error, SchemaError::Descriptors { .. }), "{error}");
        assert!(error.hint().contains("--include_imports"));
    }

    #[test]
    fn editions_are_read() {
        let mut set = FileDescriptorSet::decode(SHOP).unwrap();
        let edition = |file: &mut FileDescriptorProto| file.syntax = Some("editions".to_owned());
        set.file.iter_mut().for_each(edition);
        assert!(read(&set.encode_to_vec()).is_ok());
    }
}
