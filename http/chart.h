/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/chart.h
 * @brief Small charts for the status page: SVG within the page, without script.
 */
#ifndef MEMSESS_CHART_H
#define MEMSESS_CHART_H

#include "http/status.h"

/** A server's load, errors and latency in its last minutes. */
void memsess_chart_send(request_rec *r, const memsess_server_figures_t *f, apr_time_t now);

/**
 * Draws the last hour of one figure (a counter, or one of base/history.h) as a line: how often it
 * happened in each second, or how much there was.
 * @param name of the figure, for readers who do not see the chart
 * @return the highest value that the line shows
 */
double memsess_chart_spark(request_rec *r, const memsess_status_t *status, unsigned figure,
                           const char *name, int is_bad);

#endif
