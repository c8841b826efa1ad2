// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/trace_reader.h"

#include <babeltrace2/babeltrace.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>

#include "common/unique_function.h"
#include "tracing/analysis/clock_align.h"
#include "tracing/analysis/ctf_decoder.h"
#include "tracing/analysis/report_sink.h"

namespace lunar::tracing {
namespace {

template <auto put>
struct Put {
  template <typename T>
  void operator()(T* object) const noexcept {
    put(object);
  }
};
template <typename T, auto put>
using Ref = std::unique_ptr<T, Put<put>>;

using OnMessage = UniqueFunction<void(const bt_message*)>;

tl::unexpected<Error> failed(const std::string& what) {
  std::string why = what;
  if (const bt_error* error = bt_current_thread_take_error()) {
    // The innermost cause is the one that names the file.
    const auto* cause = bt_error_borrow_cause_by_index(error, 0);
    why += std::string(": ") + bt_error_cause_get_message(cause);
    bt_error_release(error);
  }
  return failure(std::errc::io_error, why);
}

bt_graph_simple_sink_component_consume_func_status consume(bt_message_iterator* iterator,
                                                           void* data) {
  bt_message_array_const messages;
  uint64_t count = 0;
  switch (bt_message_iterator_next(iterator, &messages, &count)) {
    case BT_MESSAGE_ITERATOR_NEXT_STATUS_OK:
      for (uint64_t i = 0; i < count; ++i) {
        (*static_cast<OnMessage*>(data))(messages[i]);
        bt_message_put_ref(messages[i]);
      }
      return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_OK;
    case BT_MESSAGE_ITERATOR_NEXT_STATUS_END:
      return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_END;
    case BT_MESSAGE_ITERATOR_NEXT_STATUS_AGAIN:
      return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_AGAIN;
    case BT_MESSAGE_ITERATOR_NEXT_STATUS_MEMORY_ERROR:
      return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_MEMORY_ERROR;
    default:
      return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_ERROR;
  }
}

// A graph: one source.ctf.fs per trace -> filter.utils.muxer -> `on_message`, until the end.
class Reader {
 public:
  Outcome<void> run(const std::vector<std::string>& traces, OnMessage on_message) {
    on_message_ = std::move(on_message);
    if (auto plugins = load_plugins(); !plugins) return plugins;
    graph_.reset(bt_graph_create(0));
    const bt_component_filter* muxer = nullptr;
    if (bt_graph_add_filter_component(graph_.get(), muxer_class_, "muxer", nullptr,
                                      BT_LOGGING_LEVEL_WARNING,
                                      &muxer) != BT_GRAPH_ADD_COMPONENT_STATUS_OK) {
      return failed("libbabeltrace2's muxer cannot be made");
    }
    for (const std::string& trace : traces) {
      if (auto added = add_source(trace, muxer); !added) return added;
    }
    const bt_component_sink* sink = nullptr;
    if (bt_graph_add_simple_sink_component(graph_.get(), "report", nullptr, &consume, nullptr,
                                           &on_message_,
                                           &sink) != BT_GRAPH_ADD_COMPONENT_STATUS_OK) {
      return failed("libbabeltrace2's sink cannot be made");
    }
    const auto* out = bt_component_filter_borrow_output_port_by_index_const(muxer, 0);
    const auto* in = bt_component_sink_borrow_input_port_by_index_const(sink, 0);
    if (bt_graph_connect_ports(graph_.get(), out, in, nullptr) !=
        BT_GRAPH_CONNECT_PORTS_STATUS_OK) {
      return failed("libbabeltrace2's graph cannot be connected");
    }
    const auto status = bt_graph_run(graph_.get());
    if (status != BT_GRAPH_RUN_STATUS_OK) return failed("the trace cannot be read");
    return {};
  }

 private:
  Outcome<void> load_plugins() {
    const bt_plugin *ctf = nullptr, *utils = nullptr;
    for (const auto& [name, plugin] : {std::pair{"ctf", &ctf}, std::pair{"utils", &utils}}) {
      if (bt_plugin_find(name, BT_TRUE, BT_TRUE, BT_TRUE, BT_FALSE, BT_FALSE, plugin) !=
          BT_PLUGIN_FIND_STATUS_OK) {
        return failed(std::string("libbabeltrace2's plugin ") + name + " is not there");
      }
    }
    ctf_.reset(ctf);
    utils_.reset(utils);
    fs_class_ = bt_plugin_borrow_source_component_class_by_name_const(ctf, "fs");
    muxer_class_ = bt_plugin_borrow_filter_component_class_by_name_const(utils, "muxer");
    return {};
  }

  Outcome<void> add_source(const std::string& trace, const bt_component_filter* muxer) {
    Ref<bt_value, &bt_value_put_ref> parameters(bt_value_map_create());
    bt_value* inputs = nullptr;
    if (bt_value_map_insert_empty_array_entry(parameters.get(), "inputs", &inputs) !=
            BT_VALUE_MAP_INSERT_ENTRY_STATUS_OK ||
        bt_value_array_append_string_element(inputs, trace.c_str()) !=
            BT_VALUE_ARRAY_APPEND_ELEMENT_STATUS_OK) {
      return failed("out of memory");
    }
    const bt_component_source* source = nullptr;
    const std::string name = "trace" + std::to_string(sources_++);
    if (bt_graph_add_source_component(graph_.get(), fs_class_, name.c_str(), parameters.get(),
                                      BT_LOGGING_LEVEL_WARNING,
                                      &source) != BT_GRAPH_ADD_COMPONENT_STATUS_OK) {
      return failed(trace + " cannot be opened");
    }
    for (uint64_t i = 0; i < bt_component_source_get_output_port_count(source); ++i) {
      // The muxer has a free input at all times: it makes one when one is taken.
      const uint64_t free = bt_component_filter_get_input_port_count(muxer) - 1;
      if (bt_graph_connect_ports(graph_.get(),
                                 bt_component_source_borrow_output_port_by_index_const(source, i),
                                 bt_component_filter_borrow_input_port_by_index_const(muxer, free),
                                 nullptr) != BT_GRAPH_CONNECT_PORTS_STATUS_OK) {
        return failed(trace + " cannot be read");
      }
    }
    return {};
  }

  OnMessage on_message_;
  Ref<const bt_plugin, &bt_plugin_put_ref> ctf_, utils_;
  const bt_component_class_source* fs_class_ = nullptr;
  const bt_component_class_filter* muxer_class_ = nullptr;
  std::size_t sources_ = 0;
  Ref<bt_graph, &bt_graph_put_ref> graph_;  // before what it refers to goes
};

// The environment of a trace is in clear text near the beginning of its metadata.
std::string host_of(const std::string& trace) {
  std::ifstream file(trace + "/metadata", std::ios::binary);
  std::string text(64u << 10, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  const std::string key = "hostname = \"";
  const std::size_t at = text.find(key);
  if (at == std::string::npos) return {};
  const std::size_t end = text.find('"', at + key.size());
  return text.substr(at + key.size(), end - at - key.size());
}

}  // namespace

Outcome<std::vector<std::string>> find_traces(const std::vector<std::string>& folders) {
  namespace fs = std::filesystem;
  std::set<std::string> found;
  for (const std::string& folder : folders) {
    std::error_code error;
    if (!fs::is_directory(folder, error)) {
      return failure(std::errc::not_a_directory, folder + " is not a folder");
    }
    if (fs::exists(fs::path(folder) / "metadata", error)) found.insert(fs::path(folder).string());
    auto at = fs::recursive_directory_iterator(
        folder, fs::directory_options::skip_permission_denied, error);
    for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
      if (at->path().filename() == "metadata" && at->is_regular_file(error)) {
        found.insert(at->path().parent_path().string());
      }
    }
    if (error) return failure(error, folder + " cannot be read: " + error.message());
  }
  if (found.empty()) {
    return failure(std::errc::no_such_file_or_directory,
                   folders.front() + " holds no trace: no file 'metadata' is in it or below");
  }
  return std::vector<std::string>(found.begin(), found.end());
}

Outcome<TraceReport> read_report(const std::vector<std::string>& folders,
                                 const TraceReport::Options& options) {
  const auto traces = find_traces(folders);
  if (!traces) return failure(traces.error());
  std::set<std::string> hosts;
  for (const std::string& trace : *traces) hosts.insert(host_of(trace));
  ClockAlign clocks;
  if (hosts.size() > 1) {
    CtfDecoder decoder;
    Reader reader;
    const auto read = reader.run(*traces, [&](const bt_message* message) {
      if (bt_message_get_type(message) != BT_MESSAGE_TYPE_EVENT) return;
      if (const auto event = decoder.decode(message)) clocks.add(*event, decoder.processes());
    });
    if (!read) return failure(read.error());
    clocks.solve(decoder.processes());
  }
  ReportSink sink(options, hosts.size() > 1 ? &clocks : nullptr);
  Reader reader;
  const auto read = reader.run(*traces, [&sink](const bt_message* message) { sink.take(message); });
  if (!read) return failure(read.error());
  return sink.finish();
}

}  // namespace lunar::tracing
