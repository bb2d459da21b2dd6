/**
 * The script that draws the charts of the HTML report. It runs in a browser after Chart.js, and reads the
 * JSON document in the page. It writes text to the page only as text, never as markup.
 */
export const PAGE_SCRIPT: string = `
'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const winnerId = data.recommendation.setting;
  const unitSizes = [...new Set(data.results.map(result => result.unitSizeBytes))];
  const several = name => new Set(data.results.map(result => result[name])).size > 1;
  const severalPaddings = several('padding');
  const severalCiphers = several('cipher');
  const severalProviders = several('provider');

  const sizeText = bytes => {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let step = 0;
    while (bytes >= 1024 && step < units.length - 1) { bytes /= 1024; step += 1; }
    return (Number.isInteger(bytes) ? bytes : numberText(bytes)) + ' ' + units[step];
  };
  const paddingText = padding =>
    (padding === 'none' ? 'no' : padding === 'padme' ? padding : sizeText(padding)) + ' padding';
  const numberText = value =>
    value >= 100 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)));

  const seriesName = result => [
    result.codec,
    severalPaddings ? paddingText(result.padding) : '',
    severalCiphers ? result.cipher : '',
    severalProviders ? result.provider : '',
  ].filter(part => part !== '').join(', ');

  const series = new Map();
  for (const result of data.results) {
    const name = seriesName(result);
    if (!series.has(name)) series.set(name, []);
    series.get(name).push(result);
  }
  const names = [...series.keys()];
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const DASHES = [[], [6, 4], [2, 3]];
  const seriesColor = name => color('--s' + (names.indexOf(name) % 8));
  const seriesDash = name => DASHES[Math.floor(names.indexOf(name) / 8) % DASHES.length];

  // The numbers of all data together, or of one sample.
  let chosen = '';
  const numbersOf = result => {
    if (chosen === '') return result.summary;
    return result.samples.find(sample => sample.sample === chosen);
  };

  const CHARTS = [
    { id: 'seal', title: 'sealed, MB/s', value: n => n.sealBytesPerSecond / 1e6, spread: n => n.sealSpread, unit: ' MB/s', log: true },
    { id: 'open', title: 'opened, MB/s', value: n => n.openBytesPerSecond / 1e6, spread: n => n.openSpread, unit: ' MB/s', log: true },
    { id: 'ratio', title: 'plain bytes / stored byte', value: n => n.ratio, unit: '', log: false },
    { id: 'stored', title: 'stored, % of plain', value: n => n.plainBytes === 0 ? 0 : 100 * n.storedBytes / n.plainBytes, unit: '%', log: false },
    { id: 'read', title: 'random read, ms', value: n => n.randomReadMs, unit: ' ms', log: false },
    { id: 'overwrite', title: 'overwrite, ms', value: n => n.overwriteMs, unit: ' ms', log: false },
  ];

  const drawn = [];
  const narrow = () => window.innerWidth < 760;

  const axis = (title, more) => ({
    grid: { color: color('--line') },
    border: { color: color('--line') },
    ticks: { color: color('--soft'), maxRotation: 0, ...more.ticks },
    title: { display: title !== '', text: title, color: color('--soft') },
    ...more.axis,
  });

  const tooltip = lines => ({
    backgroundColor: color('--ink'),
    titleColor: color('--card'),
    bodyColor: color('--card'),
    padding: 10,
    callbacks: lines,
  });

  // 1, 2 and 5 of each decade are enough to read a logarithmic axis by.
  const logTick = value => {
    const lead = Number(String(value.toExponential()).split('e')[0]);
    return [1, 2, 5].includes(lead) ? numberText(value) : '';
  };

  // Draws a line from the slowest to the fastest round through each point.
  const spreadMarks = {
    id: 'spreadMarks',
    beforeDatasetsDraw({ ctx, data, scales }) {
      ctx.save();
      ctx.lineWidth = 1.5;
      ctx.globalAlpha = 0.7;
      data.datasets.forEach((dataset, at) => {
        ctx.strokeStyle = dataset.borderColor;
        dataset.spreads.forEach((spread, nth) => {
          if (spread === null) return;
          // Side by side, as lines on top of each other could not be told apart.
          const x = scales.x.getPixelForValue(nth) + (at - (data.datasets.length - 1) / 2) * 3;
          const [top, bottom] = [spread.fastest, spread.slowest].map(rate => scales.y.getPixelForValue(rate));
          ctx.beginPath();
          ctx.moveTo(x - 3, top);
          ctx.lineTo(x + 3, top);
          ctx.moveTo(x, top);
          ctx.lineTo(x, bottom);
          ctx.moveTo(x - 3, bottom);
          ctx.lineTo(x + 3, bottom);
          ctx.stroke();
        });
      });
      ctx.restore();
    },
  };

  function drawLines({ id, title, value, spread, unit, log }) {
    const datasets = names.map(name => {
      const results = series.get(name);
      const bySize = new Map(results.map(result => [result.unitSizeBytes, result]));
      const points = unitSizes.map(size => {
        const numbers = bySize.has(size) ? numbersOf(bySize.get(size)) : undefined;
        const found = numbers === undefined ? null : value(numbers);
        return Number.isFinite(found) && (!log || found > 0) ? found : null;
      });
      const spreads = unitSizes.map(size => {
        const numbers = bySize.has(size) ? numbersOf(bySize.get(size)) : undefined;
        const found = numbers === undefined ? undefined : spread?.(numbers);
        if (!(found?.slowest > 0) || found.fastest === null) return null;
        return { slowest: found.slowest / 1e6, fastest: found.fastest / 1e6 };
      });
      const isWinner = unitSizes.map(size => bySize.get(size)?.setting === winnerId);
      return {
        label: name,
        data: points,
        borderColor: seriesColor(name),
        backgroundColor: seriesColor(name),
        borderDash: seriesDash(name),
        borderWidth: 2,
        // The recommended setting's line is drawn last, on top of the others.
        order: isWinner.includes(true) ? 0 : 1,
        // Straight: nothing was measured between two sizes.
        tension: 0,
        spreads,
        spanGaps: true,
        pointRadius: isWinner.map(winner => winner ? 7 : 3),
        pointHoverRadius: 7,
        pointStyle: isWinner.map(winner => winner ? 'rectRot' : 'circle'),
        pointBorderColor: isWinner.map(winner => winner ? color('--ink') : seriesColor(name)),
        pointBorderWidth: isWinner.map(winner => winner ? 2 : 1),
      };
    });
    const ends = datasets.flatMap(({ spreads }) => spreads.filter(one => one !== null));
    const bounds = ends.length === 0 ? {} : {
      suggestedMin: Math.min(...ends.map(({ slowest }) => slowest)),
      suggestedMax: Math.max(...ends.map(({ fastest }) => fastest)),
    };
    const spreadText = item => {
      const found = item.dataset.spreads[item.dataIndex];
      return found === null ? '' : ' (' + numberText(found.slowest) + ' to ' + numberText(found.fastest) + ')';
    };
    drawn.push(new Chart(document.getElementById(id), {
      type: 'line',
      plugins: [spreadMarks],
      data: { labels: unitSizes.map(sizeText), datasets },
      options: {
        responsive: true,
        maintainAspectRatio: false,
        animation: false,
        interaction: { mode: 'index', intersect: false },
        scales: {
          x: axis('unit size', { ticks: {}, axis: {} }),
          y: log
            ? axis(title, { ticks: { callback: logTick }, axis: { type: 'logarithmic', ...bounds } })
            : axis(title, { ticks: { callback: v => numberText(v) + unit }, axis: { beginAtZero: true } }),
        },
        plugins: {
          legend: { display: false },
          tooltip: tooltip({ label: item => ' ' + item.dataset.label + ': ' + numberText(item.parsed.y) + unit + spreadText(item) }),
        },
      },
    }));
  }

  // Writes unit sizes beside the points of one series, and a ring around the recommended one.
  const scatterMarks = {
    id: 'scatterMarks',
    afterDatasetsDraw(chart) {
      const { ctx } = chart;
      ctx.save();
      ctx.font = '12px system-ui, sans-serif';
      chart.data.datasets.forEach((dataset, at) => {
        const points = chart.getDatasetMeta(at).data;
        const isWinnerSeries = dataset.data.some(point => point.result.setting === winnerId);
        dataset.data.forEach((point, nth) => {
          const { x, y } = points[nth];
          const isWinner = point.result.setting === winnerId;
          if (isWinner) {
            ctx.strokeStyle = color('--ink');
            ctx.lineWidth = 2;
            ctx.beginPath();
            ctx.arc(x, y, 13, 0, 2 * Math.PI);
            ctx.stroke();
          }
          // A phone has no room for more than one label.
          if (!isWinnerSeries || (narrow() && !isWinner)) return;
          const text = sizeText(point.result.unitSizeBytes) + (isWinner ? ', recommended' : '');
          const width = ctx.measureText(text).width;
          const left = x + width + 22 > chart.chartArea.right ? x - width - 18 : x + 12;
          ctx.fillStyle = isWinner ? color('--ink') : color('--soft');
          ctx.font = (isWinner ? '600 ' : '') + '12px system-ui, sans-serif';
          const at = { x: isWinner ? left + 5 : left, y: isWinner ? y - 14 : y - 11 };
          ctx.strokeStyle = color('--card');
          ctx.lineWidth = 4;
          ctx.strokeText(text, at.x, at.y);
          ctx.fillText(text, at.x, at.y);
        });
      });
      ctx.restore();
    },
  };

  function drawScatter() {
    const datasets = names.map(name => {
      const points = series.get(name).flatMap(result => {
        const numbers = numbersOf(result);
        if (numbers === undefined || !(numbers.randomReadMs > 0)) return [];
        const x = Math.max(1e-3, numbers.randomReadMs - data.link.roundTripMs);
        return [{ x, y: 100 * numbers.storedBytes / numbers.plainBytes, result }];
      });
      return {
        label: name,
        data: points,
        showLine: true,
        tension: 0,
        borderColor: seriesColor(name),
        backgroundColor: seriesColor(name),
        borderDash: seriesDash(name),
        borderWidth: 1.5,
        pointRadius: points.map(point => 3 + Math.log2(point.result.unitSizeBytes / 4096) / 2.5),
        pointHoverRadius: 9,
      };
    });
    const item = context => {
      const { x, y, result } = context.raw;
      return ' ' + sizeText(result.unitSizeBytes) + ' units, ' + context.dataset.label + ': read ' +
        numberText(x + data.link.roundTripMs) + ' ms, stored ' + numberText(y) + '%';
    };
    const roundTrip = numberText(data.link.roundTripMs) + ' ms round trip';
    const readTitle = narrow() ? 'ms on top of the ' + roundTrip : 'cold random 4 KiB read: ms on top of the ' + roundTrip;
    drawn.push(new Chart(document.getElementById('scatter'), {
      type: 'scatter',
      data: { datasets },
      plugins: [scatterMarks],
      options: {
        responsive: true,
        maintainAspectRatio: false,
        animation: false,
        layout: { padding: { top: 16, right: 12 } },
        scales: {
          x: axis(readTitle, { ticks: { callback: logTick }, axis: { type: 'logarithmic' } }),
          y: axis('stored, % of plain', { ticks: { callback: v => numberText(v) + '%' }, axis: { beginAtZero: true } }),
        },
        plugins: { legend: { display: false }, tooltip: tooltip({ label: item }) },
      },
    }));
  }

  function drawLegend() {
    for (const name of names) {
      const entry = document.createElement('li');
      const swatch = document.createElement('span');
      swatch.className = 'swatch';
      swatch.style.background = seriesColor(name);
      entry.append(swatch, name);
      document.getElementById('legend').append(entry);
    }
    const mark = document.createElement('li');
    mark.append('◆ recommended');
    document.getElementById('legend').append(mark);
  }

  function draw() {
    for (const chart of drawn.splice(0)) chart.destroy();
    document.getElementById('legend').replaceChildren();
    Chart.defaults.font.family = 'system-ui, sans-serif';
    drawLegend();
    for (const chart of CHARTS) drawLines(chart);
    drawScatter();
  }

  const select = document.getElementById('sample');
  select.addEventListener('change', () => { chosen = select.value; draw(); });
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  draw();
})();
`;
