/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/chart.h"

#include "apr_strings.h"
#include "http_protocol.h"

/* -- A server's last minutes ------------------------------------------------------------------ */

#define WIDTH 600.0
#define HEIGHT 60.0

/* What the highest bar and the highest point of a chart stand for. */
typedef struct scale_t {
    double rate;
    apr_interval_time_t p99;
} scale_t;

static double rate_of(apr_uint64_t n, const memsess_sample_t *sample)
{
    return sample->span > 0 ? (double)n * 1e6 / (double)sample->span : 0;
}

static scale_t scale_of(const memsess_server_figures_t *f)
{
    scale_t scale = {0};
    unsigned i;

    for (i = 0; i < f->samples; i++) {
        double rate = rate_of(f->sample[i].operations, &f->sample[i]);

        scale.rate = rate > scale.rate ? rate : scale.rate;
        scale.p99 = f->sample[i].p99 > scale.p99 ? f->sample[i].p99 : scale.p99;
    }
    return scale;
}

static double place(apr_time_t at, apr_time_t now)
{
    double span = (double)(MEMSESS_SAMPLES * MEMSESS_SAMPLE_EVERY);

    return WIDTH - WIDTH * (double)(now - at) / span;
}

static void send_bar(request_rec *r, const char *kind, double begin, double end, double height)
{
    if (height > 0) {
        ap_rprintf(r, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                   "height=\"%.1f\"/>", kind, begin, HEIGHT - height, end - begin - 1, height);
    }
}

/* One more step of a path, as long as there is a value; the path is broken where there is none. */
static void send_step(request_rec *r, int *drawing, int is_there, double begin, double end,
                      double y)
{
    if (is_there) {
        ap_rprintf(r, "%c%.1f %.1fH%.1f", *drawing ? 'L' : 'M', begin, y, end);
    }
    *drawing = is_there;
}

static void send_bars(request_rec *r, const memsess_server_figures_t *f, const scale_t *scale,
                      apr_time_t now)
{
    unsigned i;

    for (i = 0; i < f->samples && scale->rate > 0; i++) {
        const memsess_sample_t *sample = &f->sample[i];
        double end = place(sample->at, now), begin = place(sample->at - sample->span, now);

        send_bar(r, "load", begin, end,
                 HEIGHT * rate_of(sample->operations, sample) / scale->rate);
        send_bar(r, "errors", begin, end, HEIGHT * rate_of(sample->errors, sample) / scale->rate);
    }
}

/* A line through the p99 of all samples that have one. */
static void send_line(request_rec *r, const memsess_server_figures_t *f, const scale_t *scale,
                      apr_time_t now)
{
    int drawing = 0;
    unsigned i;

    if (!scale->p99) {
        return;
    }
    ap_rputs("<path class=\"slow\" d=\"", r);
    for (i = 0; i < f->samples; i++) {
        const memsess_sample_t *sample = &f->sample[i];
        double y = HEIGHT - (HEIGHT - 2) * (double)sample->p99 / (double)scale->p99;

        send_step(r, &drawing, sample->operations != 0, place(sample->at - sample->span, now),
                  place(sample->at, now) - 1, y);
    }
    ap_rputs("\"/>", r);
}

void memsess_chart_send(request_rec *r, const memsess_server_figures_t *f, apr_time_t now)
{
    scale_t scale = scale_of(f);
    const char *text = apr_psprintf(r->pool, "at most %.*f/s", scale.rate < 10 ? 1 : 0,
                                    scale.rate);
    const char *p99 = memsess_status_took(scale.p99, r->pool);

    ap_rprintf(r, "<svg viewBox=\"0 0 %.0f %.0f\" preserveAspectRatio=\"none\" role=\"img\" "
               "aria-label=\"The last five minutes: load %s, p99 at most %s\">", WIDTH, HEIGHT,
               text, p99);
    send_bars(r, f, &scale, now);
    send_line(r, f, &scale, now);
    ap_rprintf(r, "</svg><p class=\"soft\">5 min: <span class=\"key key-load\">\xE2\x96\xAE</span> "
               "load, %s; <span class=\"key key-slow\">\xE2\x80\x94</span> p99, at most %s</p>\n",
               text, p99);
}

/* -- The last hour ------------------------------------------------------------------------------ */

#define SPARK_WIDTH 120.0
#define SPARK_HEIGHT 24.0

/* A figure's value at the end of a minute; -1: it is unknown. */
static double spark_value(const memsess_status_t *status, unsigned end, unsigned figure)
{
    const memsess_moment_t *moment = &status->minutes[end];

    if (figure == MEMSESS_H_ALIVE) {
        return (double)moment->value[figure] - 1;
    }
    return memsess_history_rate(moment - 1, moment, figure);
}

static double spark_place(const memsess_status_t *status, apr_time_t at)
{
    double age = (double)(status->at.at - at) / 1e6, hour = 60 * (MEMSESS_MINUTES - 1);

    return age < hour ? SPARK_WIDTH * (1 - age / hour) : 0;
}

static double spark_most(const memsess_status_t *status, unsigned figure)
{
    double most = 0;
    unsigned i;

    for (i = 1; i < status->n_minutes; i++) {
        double value = spark_value(status, i, figure);

        most = value > most ? value : most;
    }
    return most;
}

double memsess_chart_spark(request_rec *r, const memsess_status_t *status, unsigned figure,
                           const char *name, int is_bad)
{
    double most = spark_most(status, figure);
    int drawing = 0;
    unsigned i;

    ap_rprintf(r, "<svg class=\"spark%s\" viewBox=\"0 0 %.0f %.0f\" preserveAspectRatio=\"none\" "
               "role=\"img\" aria-label=\"%s, the last hour: at most %.*f\"><path d=\"",
               is_bad && most > 0 ? " spark-bad" : "", SPARK_WIDTH, SPARK_HEIGHT, name, most < 10 ? 2 : 0, most);
    for (i = 1; i < status->n_minutes; i++) {
        double value = spark_value(status, i, figure);
        double y = SPARK_HEIGHT - 1 - (most > 0 ? (SPARK_HEIGHT - 3) * value / most : 0);

        send_step(r, &drawing, value >= 0, spark_place(status, status->minutes[i - 1].at),
                  spark_place(status, status->minutes[i].at), y);
    }
    ap_rputs("\"/></svg>", r);
    return most;
}
