// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/report/report.h"

#include <algorithm>
#include <cmath>

#include "quiver/evaluation/report/report_clustering.h"
#include "quiver/evaluation/report/report_heatmap.h"
#include "quiver/evaluation/report/report_results.h"
#include "quiver/evaluation/report/report_style.h"
#include "quiver/evaluation/report/report_text.h"
#include "quiver/evaluation/report/report_trace.h"

namespace quiver::evaluation {
namespace {

/// Nothing but the page's own style and script may run or load, whatever a text contains.
constexpr const char* kPolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

std::string render_head(const Report& report) {
  std::string out = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += std::string("<meta http-equiv=\"Content-Security-Policy\" content=\"") + kPolicy + "\">\n";
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  out += "<title>" + escape_html(report.title) + "</title>\n<style>";
  return out + std::string(report_style_sheet()) + "</style>\n</head>\n";
}

std::string render_facts(const std::vector<std::pair<std::string, std::string>>& facts) {
  if (facts.empty()) return "";
  std::string out = "<section><dl class=\"facts\">\n";
  for (const auto& [name, value] : facts) {
    out += "<div><dt>" + escape_html(name) + "</dt><dd>" + escape_html(value) + "</dd></div>\n";
  }
  return out + "</dl></section>\n";
}

/// Values that all lie in [0, 1] are taken as shares, on a scale of 0 to 100 %.
HeatmapOptions matrix_scale(const Matrix& matrix) {
  double low = 0, high = 0;
  for (const auto& row : matrix.values) {
    for (const double value : row) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  HeatmapOptions options{.mark_column_best = true, .label = "Score of each expert on each task"};
  options.percent = low >= 0 && high <= 1;
  options.is_signed = low < 0;
  if (!options.percent) options.high = std::max(high, -low);
  return options;
}

std::string render_matrix(const Matrix& matrix) {
  check_matrix(matrix, "report matrix");
  if (matrix.row_names.empty() || matrix.column_names.empty()) return "";
  return "<section><h2>Experts × tasks</h2>\n<p class=\"note\">Each row is an expert alone, each column a task; the "
         "frame marks the best expert of a task.</p>\n" +
         render_heatmap(matrix, matrix_scale(matrix)) + "</section>\n";
}

}  // namespace

bool is_report(const std::string& head) {
  return head.starts_with("<!DOCTYPE html>") && head.find(kPolicy) != std::string::npos;
}

std::string render_report(const Report& report) {
  auto out = render_head(report) + "<body>\n<main>\n<h1>" + escape_html(report.title) + "</h1>\n";
  out += render_facts(report.facts) + render_headlines(report.results) + render_results(report.results);
  out += render_matrix(report.matrix) + render_clustering(report.clustering);
  for (const auto& trace : report.traces) out += render_trace(trace);
  out += "<footer>Made by quiver evaluate.</footer>\n</main>\n<div id=\"tip\" role=\"status\"></div>\n<script>";
  return out + std::string(report_script()) + "</script>\n</body>\n</html>\n";
}

}  // namespace quiver::evaluation
