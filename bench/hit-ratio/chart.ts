/** Draws the results as an SVG. Its background is always white, so that one set of colours is enough. */
import { LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent, TitleComponent } from 'echarts/components';
import { init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import type { Result } from './measure.ts';

const WIDTH = 960;
const HEIGHT = 400;
const PANEL_WIDTH = 250;
const PANEL_GAP = 55;
const LEFT = 60;
const FONT = 'system-ui, sans-serif';
const INK = '#1a202c';
const FAINT = '#cbd5e0';

interface Line {
  readonly name: string;
  readonly color: string;
  readonly symbol: string;
  readonly width: number;
  readonly missRatio: (result: Result) => number;
}

/** The lines differ in shape as well as in colour. */
const LINES: readonly Line[] = [
  { name: 'FIFO', color: '#718096', symbol: 'rect', width: 1.5, missRatio: each => each.policies.FIFO },
  { name: 'LRU', color: '#b7791f', symbol: 'triangle', width: 2, missRatio: each => each.policies.LRU },
  {
    name: 'S3-FIFO, counting units',
    color: '#2b5fb4',
    symbol: 'emptyCircle',
    width: 2,
    missRatio: each => each.policies['S3-FIFO'],
  },
  {
    name: 'netseal, in zones of files',
    color: '#2f855a',
    symbol: 'diamond',
    width: 3,
    missRatio: each => each.cache.missRatio,
  },
];

/** Draws miss ratios over the size of the cache, in one panel for each trace. */
export function chartOf(results: readonly Result[]): string {
  use([SVGRenderer, LineChart, GridComponent, LegendComponent, TitleComponent]);
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: HEIGHT });
  const panels = [...Map.groupBy(results, ({ trace }) => trace)];
  try {
    chart.setOption({
      animation: false,
      backgroundColor: '#ffffff',
      textStyle: { fontFamily: FONT, color: INK },
      legend: {
        bottom: 8,
        itemGap: 28,
        data: LINES.map(({ name }) => name),
        textStyle: { color: INK, fontSize: 14 },
      },
      title: panels.map(([trace], at) => ({
        text: trace,
        left: leftOf(at) + PANEL_WIDTH / 2,
        top: 10,
        textAlign: 'center',
        textStyle: { color: INK, fontSize: 16, fontWeight: 600 },
      })),
      grid: panels.map((_, at) => ({ left: leftOf(at), top: 64, width: PANEL_WIDTH, height: 236 })),
      xAxis: panels.map(([, list], at) => ({
        gridIndex: at,
        type: 'category',
        data: list.map(({ sizePercent }) => `${sizePercent} %`),
        name: 'budget, of the working set',
        nameLocation: 'middle',
        nameGap: 30,
        nameTextStyle: { color: INK, fontSize: 13 },
        axisLabel: { color: INK, fontSize: 13 },
        axisLine: { lineStyle: { color: INK } },
      })),
      yAxis: panels.map((_, at) => ({
        gridIndex: at,
        type: 'value',
        min: 0,
        max: 100,
        name: at === 0 ? 'misses, % of accesses' : '',
        nameTextStyle: { color: INK, fontSize: 13, align: 'left', padding: [0, 0, 0, -45] },
        axisLabel: { color: INK, fontSize: 13 },
        splitLine: { lineStyle: { color: FAINT } },
      })),
      series: panels.flatMap(([, list], at) =>
        LINES.map(({ name, color, symbol, width, missRatio }) => ({
          type: 'line',
          name,
          xAxisIndex: at,
          yAxisIndex: at,
          symbol,
          symbolSize: 9,
          color,
          lineStyle: { width },
          data: list.map(result => Number((100 * missRatio(result)).toFixed(1))),
        })),
      ),
    });
    return withTitle(chart.renderToSVGString());
  } finally {
    chart.dispose();
  }
}

function leftOf(panel: number): number {
  return LEFT + panel * (PANEL_WIDTH + PANEL_GAP);
}

/** Adds a title for screen readers and removes the styles for hovering. */
function withTitle(svg: string): string {
  const title = 'Miss ratios of FIFO, LRU, S3-FIFO and netseal over the size of the cache, on three traces';
  const plain = svg.replace(/<style[\s\S]*?<\/style>\n?/, '').replaceAll(/ class="[^"]*"/g, '');
  return `${plain.replace(/^(<svg[^>]*>)/, `$1\n<title>${title}</title>`)}\n`;
}
