// Tokenizers: texts of JavaScript to ragged batches.
#include <cmath>
#include <cstring>
#include <memory>

#include "addon/async_task.h"
#include "text/text_encoder.h"

namespace whittle {

namespace {

using Handle = Napi::External<std::shared_ptr<const TextEncoder>>;
constexpr napi_type_tag kEncoderTag = {0x77686974746c6502, 0x746f6b656e697a01};

std::shared_ptr<const TextEncoder> encoder_of(const Napi::Value& value) {
  if (!value.IsExternal() || !value.As<Napi::External<void>>().CheckTypeTag(&kEncoderTag))
    throw Error("BAD_OPTION", "Expected a tokenizer that textEncoder returned");
  return *value.As<Handle>().Data();
}

// A string's UTF-16 code units, `length` of them as JavaScript counts.
std::unique_ptr<char16_t[]> units(const Napi::Value& value, const char* name, int64_t length) {
  if (!value.IsString()) throw Error("BAD_OPTION", std::string("Expected a string for ") + name);
  auto result = std::make_unique_for_overwrite<char16_t[]>(static_cast<size_t>(length) + 1);
  size_t copied = 0;
  const napi_status status =
      napi_get_value_string_utf16(value.Env(), value, result.get(), static_cast<size_t>(length) + 1, &copied);
  size_t whole = 0;
  napi_get_value_string_utf16(value.Env(), value, nullptr, 0, &whole);
  if (status != napi_ok || whole != static_cast<size_t>(length))
    throw Error("BAD_OPTION", "Expected " + std::to_string(length) + " code units for " + name + " but received " +
                                  std::to_string(whole));
  return result;
}

int64_t sum(const std::vector<int32_t>& lengths, const char* name) {
  int64_t result = 0;
  for (const int32_t length : lengths) {
    if (length < 0) throw Error("BAD_OPTION", std::string("Expected lengths from 0 in ") + name);
    result += length;
  }
  return result;
}

std::vector<int32_t> int32s(const Napi::Value& value, const char* name) {
  const Elements<int32_t> given = elements<int32_t>(value, name);
  return {given.data, given.data + given.count};
}

std::vector<AddedToken> added_tokens(const Napi::Array& list) {
  std::vector<AddedToken> result;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Object given = object(list.Get(i), "added");
    AddedToken token;
    token.id = static_cast<int32_t>(integer(given.Get("id"), "added.id", 0, INT32_MAX));
    const Elements<int32_t> content = elements<int32_t>(given.Get("content"), "added.content");
    token.content.assign(content.data, content.data + content.count);
    for (const char32_t c : token.content)
      if (c > 0x10ffff) throw Error("BAD_OPTION", "Expected code points for added.content");
    token.single_word = boolean(given.Get("singleWord"), "added.singleWord");
    token.lstrip = boolean(given.Get("lstrip"), "added.lstrip");
    token.rstrip = boolean(given.Get("rstrip"), "added.rstrip");
    token.normalized = boolean(given.Get("normalized"), "added.normalized");
    result.push_back(std::move(token));
  }
  return result;
}

std::vector<TemplateItem> template_items(const Napi::Value& value, const char* name) {
  const std::vector<int32_t> given = int32s(value, name);
  std::vector<TemplateItem> result;
  for (size_t i = 0; i + 1 < given.size(); i += 2) {
    if (given[i] < TemplateItem::kSecondText) throw Error("BAD_OPTION", std::string("Expected ids from -2 in ") + name);
    result.push_back({given[i], given[i + 1]});
  }
  return result;
}

// textEncoder(spec): TextEncoderHandle
Napi::Value text_encoder(const Napi::CallbackInfo& info) {
  const Napi::Object given = object(info[0], "spec");
  const auto flag = [&](const char* name) { return boolean(given.Get(name), name); };
  WordPieceSpec spec;
  spec.rules = {flag("cleanText"), flag("handleChinese"), flag("stripAccents"), flag("lowercase")};
  const std::vector<int32_t> lengths = int32s(given.Get("vocabularyLengths"), "vocabularyLengths");
  const auto count = static_cast<int64_t>(lengths.size());
  const Elements<int32_t> ids = elements<int32_t>(given.Get("vocabularyIds"), "vocabularyIds", count);
  const std::unique_ptr<char16_t[]> text =
      units(given.Get("vocabulary"), "vocabulary", sum(lengths, "vocabularyLengths"));
  const char16_t* piece = text.get();
  for (int64_t i = 0; i < count; ++i) {
    const auto length = static_cast<size_t>(lengths[static_cast<size_t>(i)]);
    spec.vocabulary.emplace_back(std::u16string_view(piece, length), ids.data[i]);
    piece += length;
  }
  spec.unknown = whittle::text(given.Get("unknown"), "unknown");
  spec.prefix = whittle::text(given.Get("prefix"), "prefix");
  spec.longest_word = integer(given.Get("longestWord"), "longestWord", 1, INT32_MAX);
  spec.added = added_tokens(array(given.Get("added"), "added"));
  spec.trim_offsets = flag("trimOffsets");
  spec.keep_first_space = flag("keepFirstSpace");
  auto encoder = std::make_shared<const TextEncoder>(spec, template_items(given.Get("single"), "single"),
                                                     template_items(given.Get("pair"), "pair"));
  Handle handle = Handle::New(info.Env(), new std::shared_ptr<const TextEncoder>(std::move(encoder)),
                              [](Napi::Env, std::shared_ptr<const TextEncoder>* held) { delete held; });
  handle.TypeTag(&kEncoderTag);
  return handle;
}

TextBatch text_batch(const Napi::CallbackInfo& info) {
  TextBatch batch;
  batch.lengths = int32s(info[2], "lengths");
  batch.forms = int32s(info[3], "forms");
  int64_t strings = 0;
  for (const int32_t form : batch.forms) {
    if (form < 0) throw Error("BAD_OPTION", "Expected forms from 0");
    strings += TextBatch::strings(form);
  }
  if (strings != static_cast<int64_t>(batch.lengths.size()))
    throw Error("BAD_OPTION", "Expected lengths of " + std::to_string(strings) + " strings but received " +
                                  std::to_string(batch.lengths.size()));
  batch.text = units(info[1], "text", sum(batch.lengths, "lengths"));
  return batch;
}

EncodeOptions encode_options(const Napi::Object& given) {
  EncodeOptions options;
  const double most = number(given.Get("maxLength"), "maxLength");
  if (std::isnan(most)) throw Error("BAD_OPTION", "Expected a number for maxLength but received NaN");
  options.max_length = static_cast<int64_t>(std::max(-1.0, std::min(most, 1e15)));
  options.words = boolean(given.Get("words"), "words");
  options.places = boolean(given.Get("places"), "places");
  options.threads = static_cast<int>(integer(given.Get("threads"), "threads", 0, 4096));
  if (options.threads == 0) options.threads = ThreadPool::instance().default_threads();
  return options;
}

// All arrays in one buffer: making a buffer costs more than the tokens of a short text.
Napi::Value encoded_texts(Napi::Env env, const EncodedTexts& texts) {
  const std::pair<const char*, const std::vector<int32_t>*> columns[] = {{"inputIds", &texts.ids},
                                                                         {"tokenTypeIds", &texts.types},
                                                                         {"offsets", &texts.offsets},
                                                                         {"wordIds", &texts.words},
                                                                         {"places", &texts.places}};
  size_t bytes = texts.truncated.size();
  for (const auto& [name, column] : columns) bytes += column->size() * sizeof(int32_t);
  Napi::ArrayBuffer buffer = new_buffer(env, bytes);
  Napi::Object result = Napi::Object::New(env);
  size_t at = 0;
  for (const auto& [name, column] : columns) {
    result.Set(name, Napi::Int32Array::New(env, column->size(), buffer, at));
    if (column->empty()) continue;
    std::memcpy(static_cast<char*>(buffer.Data()) + at, column->data(), column->size() * sizeof(int32_t));
    at += column->size() * sizeof(int32_t);
  }
  result.Set("truncated", Napi::Uint8Array::New(env, texts.truncated.size(), buffer, at));
  if (!texts.truncated.empty())
    std::memcpy(static_cast<char*>(buffer.Data()) + at, texts.truncated.data(), texts.truncated.size());
  return result;
}

// textEncode(encoder, text, lengths, forms, options): EncodedTexts
Napi::Value text_encode(const Napi::CallbackInfo& info) {
  TextBatch batch = text_batch(info);
  return encoded_texts(info.Env(), encoder_of(info[0])->encode(batch, encode_options(object(info[4], "options"))));
}

// textEncodeAsync(encoder, text, lengths, forms, options, abort?): Promise<EncodedTexts>
Napi::Value text_encode_async(const Napi::CallbackInfo& info) {
  auto batch = std::make_shared<TextBatch>(text_batch(info));
  TaskOptions options;
  options.abort = info[5];
  return AsyncTask<EncodedTexts>::start(
      info.Env(), "textEncode",
      [batch, encoder = encoder_of(info[0]), given = encode_options(object(info[4], "options"))](TaskControl& control) {
        EncodeOptions encode = given;
        encode.aborted = [&control] { return control.aborted(); };
        return encoder->encode(*batch, encode);
      },
      [](Napi::Env env, EncodedTexts& texts) { return encoded_texts(env, texts); }, options);
}

}  // namespace

void add_text_glue(Napi::Env, Napi::Object exports) {
  export_function<text_encoder>(exports, "textEncoder");
  export_function<text_encode>(exports, "textEncode");
  export_function<text_encode_async>(exports, "textEncodeAsync");
}

}  // namespace whittle
