// SPDX-License-Identifier: LGPL-2.1-or-later
// Component class sink.lunar.report, for use from babeltrace2 itself:
//
//   babeltrace2 --plugin-path=FOLDER TRACE -c sink.lunar.report --params='json=yes,slowest=20'
//
// Parameters: slowest (number), io (string), json (boolean), html, chrome, otlp (strings: files).
#include <babeltrace2/babeltrace.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "tracing/analysis/report_sink.h"

namespace {

using lunar::tracing::ReportOutput;
using lunar::tracing::ReportSink;
using lunar::tracing::TraceReport;

struct Component {
  TraceReport::Options options;
  ReportOutput output;
  std::unique_ptr<ReportSink> sink;
  bt_message_iterator* iterator = nullptr;
};

std::string text_parameter(const bt_value* parameters, const char* name) {
  const bt_value* value = bt_value_map_borrow_entry_value_const(parameters, name);
  return value != nullptr && bt_value_is_string(value) ? bt_value_string_get(value) : "";
}

void read_parameters(const bt_value* parameters, Component& component) {
  if (const bt_value* value = bt_value_map_borrow_entry_value_const(parameters, "slowest");
      value != nullptr && bt_value_is_signed_integer(value)) {
    component.options.slowest = static_cast<std::size_t>(bt_value_integer_signed_get(value));
  }
  if (const bt_value* value = bt_value_map_borrow_entry_value_const(parameters, "json");
      value != nullptr && bt_value_is_bool(value)) {
    component.output.json = bt_value_bool_get(value) != BT_FALSE;
  }
  if (const std::string io = text_parameter(parameters, "io"); !io.empty()) {
    component.options.io_id = std::strtoull(io.c_str(), nullptr, 0);
  }
  component.output.html = text_parameter(parameters, "html");
  component.output.chrome = text_parameter(parameters, "chrome");
  component.output.otlp = text_parameter(parameters, "otlp");
  if (component.output.has_files()) component.options.sample = 500;
}

bt_component_class_initialize_method_status initialize(bt_self_component_sink* self,
                                                       bt_self_component_sink_configuration*,
                                                       const bt_value* parameters, void*) {
  if (bt_self_component_sink_add_input_port(self, "in", nullptr, nullptr) !=
      BT_SELF_COMPONENT_ADD_PORT_STATUS_OK) {
    return BT_COMPONENT_CLASS_INITIALIZE_METHOD_STATUS_ERROR;
  }
  auto component = std::make_unique<Component>();
  read_parameters(parameters, *component);
  component->sink = std::make_unique<ReportSink>(component->options, nullptr);
  bt_self_component_set_data(bt_self_component_sink_as_self_component(self), component.release());
  return BT_COMPONENT_CLASS_INITIALIZE_METHOD_STATUS_OK;
}

Component& component_of(bt_self_component_sink* self) {
  return *static_cast<Component*>(
      bt_self_component_get_data(bt_self_component_sink_as_self_component(self)));
}

void finalize(bt_self_component_sink* self) {
  Component& component = component_of(self);
  if (component.iterator != nullptr) bt_message_iterator_put_ref(component.iterator);
  delete &component;
}

bt_component_class_sink_graph_is_configured_method_status is_configured(
    bt_self_component_sink* self) {
  bt_self_component_port_input* port = bt_self_component_sink_borrow_input_port_by_index(self, 0);
  if (bt_message_iterator_create_from_sink_component(self, port, &component_of(self).iterator) !=
      BT_MESSAGE_ITERATOR_CREATE_FROM_SINK_COMPONENT_STATUS_OK) {
    return BT_COMPONENT_CLASS_SINK_GRAPH_IS_CONFIGURED_METHOD_STATUS_ERROR;
  }
  return BT_COMPONENT_CLASS_SINK_GRAPH_IS_CONFIGURED_METHOD_STATUS_OK;
}

bt_component_class_sink_consume_method_status consume(bt_self_component_sink* self) {
  Component& component = component_of(self);
  bt_message_array_const messages;
  uint64_t count = 0;
  switch (bt_message_iterator_next(component.iterator, &messages, &count)) {
    case BT_MESSAGE_ITERATOR_NEXT_STATUS_OK:
      for (uint64_t i = 0; i < count; ++i) {
        component.sink->take(messages[i]);
        bt_message_put_ref(messages[i]);
      }
      return BT_COMPONENT_CLASS_SINK_CONSUME_METHOD_STATUS_OK;
    case BT_MESSAGE_ITERATOR_NEXT_STATUS_AGAIN:
      return BT_COMPONENT_CLASS_SINK_CONSUME_METHOD_STATUS_AGAIN;
    case BT_MESSAGE_ITERATOR_NEXT_STATUS_END:
      break;
    default:
      return BT_COMPONENT_CLASS_SINK_CONSUME_METHOD_STATUS_ERROR;
  }
  const TraceReport report = component.sink->finish();
  if (const auto written = write_report(report, component.options, component.output); !written) {
    BT_CURRENT_THREAD_ERROR_APPEND_CAUSE_FROM_COMPONENT(
        bt_self_component_sink_as_self_component(self), "%s", written.error().message.c_str());
    return BT_COMPONENT_CLASS_SINK_CONSUME_METHOD_STATUS_ERROR;
  }
  return BT_COMPONENT_CLASS_SINK_CONSUME_METHOD_STATUS_END;
}

}  // namespace

BT_PLUGIN_MODULE();
BT_PLUGIN(lunar);
BT_PLUGIN_DESCRIPTION("Reports on IOs of Lunar");
BT_PLUGIN_LICENSE("LGPL-2.1-or-later");
BT_PLUGIN_SINK_COMPONENT_CLASS(report, consume);
BT_PLUGIN_SINK_COMPONENT_CLASS_DESCRIPTION(report,
                                           "Per-IO report: stages, servers, splits, slowest IOs.");
BT_PLUGIN_SINK_COMPONENT_CLASS_INITIALIZE_METHOD(report, initialize);
BT_PLUGIN_SINK_COMPONENT_CLASS_FINALIZE_METHOD(report, finalize);
BT_PLUGIN_SINK_COMPONENT_CLASS_GRAPH_IS_CONFIGURED_METHOD(report, is_configured);
