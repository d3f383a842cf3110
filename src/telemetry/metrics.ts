/**
 * Counters, gauges and histograms, and their text for Prometheus.
 *
 * Counting costs an addition: what is counted often keeps its counter in hand. Labels come from short lists of ours, and
 * should a list turn out to be long, what is beyond the bound is counted together.
 *
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 */

/** How many series one metric may have; further ones share the series whose labels are all `other`. */
export const MAX_SERIES = 200;

const OTHER = 'other';

/** Content type of the text. */
export const TEXT_FORMAT = 'text/plain; version=0.0.4; charset=utf-8';

/** Upper bounds of latencies, in seconds. */
export const LATENCY_BUCKETS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

/** What a metric is called, means, and is divided by. */
export interface MetricDescription {
  /** Without the gateway's prefix. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

/** A value with the values of its labels, in their order. */
export interface Sample {
  readonly labels?: readonly string[];
  readonly value: number;
}

type Kind = 'counter' | 'gauge' | 'histogram';

/** One metric, as it is written. */
interface Metric {
  readonly description: MetricDescription;
  readonly kind: Kind;
  /** Lines of the text: the name's suffix, labels and their values, the value. */
  lines(): Iterable<Line> | Promise<Iterable<Line>>;
}

interface Line {
  readonly suffix: string;
  readonly labels: readonly string[];
  readonly values: readonly string[];
  readonly value: number;
}

export class Counter {
  value = 0;

  /** @param by 1 or more */
  increase(by = 1): void {
    this.value += by;
  }
}

export class Histogram {
  readonly bounds: readonly number[];
  /** How many fell under each bound and over the one before it; the last is over all bounds. */
  readonly counts: Float64Array;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const { bounds, counts } = this;
    let index = 0;
    while (index < bounds.length && value > (bounds[index] as number)) {
      index++;
    }
    counts[index] = (counts[index] as number) + 1;
    this.sum += value;
  }
}

/** The series of one metric, by the values of its labels. */
export class Family<Series> {
  private readonly make: () => Series;
  private readonly labelCount: number;
  private readonly byKey = new Map<string, { readonly labels: readonly string[]; readonly series: Series }>();

  constructor(labelCount: number, make: () => Series) {
    this.labelCount = labelCount;
    this.make = make;
  }

  /** The series of these labels; made where there is none. */
  of(...labels: readonly string[]): Series {
    const key = labels.length === 1 ? (labels[0] as string) : labels.join('\0');
    const known = this.byKey.get(key);
    if (known) {
      return known.series;
    }
    if (this.byKey.size >= MAX_SERIES && labels.some((label) => label !== OTHER)) {
      return this.of(...new Array<string>(this.labelCount).fill(OTHER));
    }
    const series = this.make();
    this.byKey.set(key, { labels, series });
    return series;
  }

  *all(): Iterable<{ readonly labels: readonly string[]; readonly series: Series }> {
    yield* this.byKey.values();
  }
}

/** All metrics of a process. */
export class Metrics {
  private readonly prefix: string;
  private readonly metrics: Metric[] = [];

  /** @param prefix of the gateway's own metrics, e.g. `relay_gateway_` */
  constructor(prefix: string) {
    this.prefix = prefix;
  }

  counter(description: MetricDescription): Family<Counter> {
    const { labels = [] } = description;
    const family = new Family(labels.length, () => new Counter());
    this.metrics.push({
      description,
      kind: 'counter',
      *lines() {
        for (const { labels: values, series } of family.all()) {
          yield { suffix: '', labels, values, value: series.value };
        }
      },
    });
    return family;
  }

  histogram(description: MetricDescription, bounds: readonly number[] = LATENCY_BUCKETS): Family<Histogram> {
    const { labels = [] } = description;
    const family = new Family(labels.length, () => new Histogram(bounds));
    this.metrics.push({
      description,
      kind: 'histogram',
      *lines() {
        for (const { labels: values, series } of family.all()) {
          yield* histogramLines(labels, values, series);
        }
      },
    });
    return family;
  }

  /**
   * A value that is looked up whenever the text is written.
   *
   * @param look gives a sample for each combination of labels; what it throws leaves the metric out
   * @param kind `counter` for what only grows
   */
  looked(
    description: MetricDescription,
    look: () => Iterable<Sample> | Promise<Iterable<Sample>>,
    kind: 'gauge' | 'counter' = 'gauge',
  ): void {
    const { labels = [] } = description;
    this.metrics.push({
      description,
      kind,
      async lines() {
        const samples = [...(await look())].slice(0, MAX_SERIES);
        return samples.map(({ labels: values = [], value }) => ({ suffix: '', labels, values, value }));
      },
    });
  }

  /** All metrics as Prometheus reads them. Never rejects. */
  async text(): Promise<string> {
    const parts = await Promise.all(this.metrics.map((metric) => this.textOf(metric)));
    return parts.join('');
  }

  private async textOf({ description: { name, help }, kind, lines }: Metric): Promise<string> {
    // Those of every process are known by the same names everywhere.
    const fullName = /^(process|nodejs)_/.test(name) ? name : `${this.prefix}${name}`;
    let text = '';
    try {
      for (const { suffix, labels, values, value } of await lines()) {
        text += `${fullName}${suffix}${labelText(labels, values)} ${valueText(value)}\n`;
      }
    } catch {
      // What cannot be looked up has no value: Prometheus knows absence.
      return '';
    }
    // Also where there is nothing to tell yet: whoever writes queries sees the name.
    return `# HELP ${fullName} ${help}\n# TYPE ${fullName} ${kind}\n${text}`;
  }
}

function* histogramLines(
  labels: readonly string[],
  values: readonly string[],
  { bounds, counts, sum }: Histogram,
): Iterable<Line> {
  const bucketLabels = [...labels, 'le'];
  let count = 0;
  for (const [index, bound] of [...bounds, Number.POSITIVE_INFINITY].entries()) {
    count += counts[index] as number;
    yield { suffix: '_bucket', labels: bucketLabels, values: [...values, valueText(bound)], value: count };
  }
  yield { suffix: '_sum', labels, values, value: sum };
  yield { suffix: '_count', labels, values, value: count };
}

function labelText(names: readonly string[], values: readonly string[]): string {
  if (names.length === 0) {
    return '';
  }
  const pairs = names.map((name, index) => `${name}="${escapeLabel(values[index] ?? '')}"`);
  return `{${pairs.join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function valueText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) {
    return '+Inf';
  }
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}
