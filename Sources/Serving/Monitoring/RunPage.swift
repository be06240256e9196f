/// The page of a training run: its loss and other figures as they come, in one file that asks no other host for
/// anything.
enum RunPage {
  static let html =
    MonitorPage.head(title: "attention train") + #"""
      main { grid-template-columns: minmax(0, 1fr); }
      .numbers { grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); }
      .wide { height: 300px; } circle { fill: var(--red); }
      .axis { display: flex; justify-content: space-between; } .small { display: grid; gap: 16px;
        grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); }
      </style>
      </head>
      <body>
      <header><h1 id="model">attention train</h1><span id="state">connecting</span></header>
      <main>
      <section><div class="numbers" id="numbers"></div></section>
      <section><h2>Bits a byte: training (line), validation (points)</h2>
        <small id="top"></small>
        <svg class="wide" id="loss" viewBox="0 0 1000 300" preserveAspectRatio="none" role="img" aria-label="Loss"></svg>
        <div class="axis"><small id="first"></small><small id="bottom"></small><small id="last"></small></div></section>
      <section><div class="small" id="small"></div></section>
      </main>
      <script>
      'use strict';
      const $ = id => document.getElementById(id);
      const bytes = n => n < 1e9 ? (n / 1e6).toFixed(1) + ' MB' : (n / 1e9).toFixed(2) + ' GB';
      const short = n => n === undefined ? '–' : Math.abs(n) >= 1000 ? n.toFixed(0) : Number(n.toPrecision(4)).toString();
      const element = name => document.createElementNS('http://www.w3.org/2000/svg', name);
      function box(value, label) {
        const box = document.createElement('div'), b = document.createElement('b'), span = document.createElement('span');
        box.className = 'number'; b.textContent = value; span.textContent = label; box.append(b, span);
        return box;
      }
      // Half of a line may have been written.
      function lines(text) {
        return text.split('\n').flatMap(line => { try { return [JSON.parse(line)]; } catch { return []; } });
      }
      function line(svg, points, width, height) {
        const [xs, ys] = [points.map(p => p[0]), points.map(p => p[1])];
        const range = values => [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
        const [[x0, x1], [y0, y1]] = [range(xs), range(ys)];
        const place = ([x, y]) => [x1 > x0 ? (x - x0) / (x1 - x0) * width : width / 2,
          y1 > y0 ? height - 4 - (y - y0) / (y1 - y0) * (height - 8) : height / 2];
        return { place, x0, x1, y0, y1 };
      }
      function curve(svg, trained, validated, width, height) {
        const all = trained.concat(validated);
        svg.replaceChildren();
        if (!all.length) return null;
        const scale = line(svg, all, width, height), path = element('polyline');
        path.setAttribute('points', trained.map(p => scale.place(p).join(',')).join(' '));
        svg.append(path);
        for (const point of validated) {
          const dot = element('line'), [x, y] = scale.place(point);
          for (const [name, value] of [['x1', x], ['x2', x + 0.01], ['y1', y], ['y2', y]]) dot.setAttribute(name, value);
          dot.setAttribute('style', 'stroke: var(--red); stroke-width: 8; stroke-linecap: round; vector-effect: non-scaling-stroke');
          svg.append(dot);
        }
        return scale;
      }
      async function poll() {
        try {
          const answer = await fetch('metrics.jsonl');
          if (answer.status === 404) throw new Error('no figures yet');
          if (!answer.ok) throw new Error('status ' + answer.status);
          const all = lines(await answer.text());
          const configuration = await fetch('configuration.json').then(a => a.ok ? a.json() : {});
          const process = await fetch('process').then(a => a.json());
          const trained = all.filter(o => 'loss' in o), validated = all.filter(o => 'validation_loss' in o);
          const now = trained[trained.length - 1] || {}, valid = validated[validated.length - 1] || {};
          const total = configuration.training && configuration.training.steps;
          const boxes = [
            [(now.step ?? '–') + (total ? ' / ' + total : ''), 'step'],
            [short(now.bits_per_byte), 'bits a byte, training'],
            [short(valid.validation_bits_per_byte), 'bits a byte, validation'],
            [short(now.tokens_per_second), 'tokens a second'],
            [short(now.gradient_norm), 'gradient norm'],
            [short(now.learning_rate), 'learning rate'],
          ];
          if (process.resident_bytes) boxes.push([bytes(process.resident_bytes), 'memory']);
          $('numbers').replaceChildren(...boxes.map(b => box(...b)));
          const scale = curve($('loss'), trained.map(o => [o.step, o.bits_per_byte]),
            validated.map(o => [o.step, o.validation_bits_per_byte]), 1000, 300);
          if (scale) {
            $('top').textContent = short(scale.y1); $('bottom').textContent = 'lowest ' + short(scale.y0);
            $('first').textContent = 'step ' + scale.x0; $('last').textContent = 'step ' + scale.x1;
          }
          $('small').replaceChildren(...[['tokens_per_second', 'Tokens a second'], ['gradient_norm', 'Gradient norm'],
            ['learning_rate', 'Learning rate']].map(([key, title]) => {
            const part = document.createElement('div'), h = document.createElement('h2'), svg = element('svg'),
              small = document.createElement('small');
            h.textContent = title; svg.setAttribute('viewBox', '0 0 300 72'); svg.setAttribute('preserveAspectRatio', 'none');
            const scale = curve(svg, trained.filter(o => key in o).map(o => [o.step, o[key]]), [], 300, 72);
            if (scale) small.textContent = short(scale.y0) + ' to ' + short(scale.y1);
            part.append(h, svg, small);
            return part;
          }));
          $('state').textContent = total && now.step >= total ? 'complete' : 'running'; $('state').className = '';
        } catch (error) {
          $('state').textContent = error.message; $('state').className = 'bad';
        }
        setTimeout(poll, 2000);
      }
      poll();
      </script>
      </body>
      </html>
      """#
}
