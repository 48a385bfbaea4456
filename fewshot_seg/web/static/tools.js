// Pointers and keys on the canvas become points, boxes and strokes; two fingers and the wheel zoom.
// `act` is told: tool() -> name, radius() -> image pixels, point(x, y, foreground), box([x, y, w, h]), stroke(stroke),
// painting(stroke, from) for each new part of one, unpaint() where it is called off.

const SLOP = 4; // screen pixels that a click may wander

export class Hand {
  constructor(view, act) {
    this.view = view;
    this.act = act;
    this.pointers = new Map();
    this.draft = null; // {box} or {stroke} under way
    this.at = null; // the pointer or the keys' crosshair, image pixels
    this.keyed = false;
    const { canvas } = view;
    const listen = (name, work, options) => canvas.addEventListener(name, work.bind(this), options);
    listen("pointerdown", this.down);
    listen("pointermove", this.moved);
    listen("pointerup", this.up);
    listen("pointercancel", this.cancel);
    listen("pointerleave", this.left);
    listen("wheel", this.wheel, { passive: false });
    listen("keydown", this.key);
    listen("blur", this.blurred);
    listen("contextmenu", (event) => event.preventDefault());
  }

  clamped([x, y]) {
    const { width, height } = this.view;
    return [Math.min(width - 1, Math.max(0, Math.floor(x))), Math.min(height - 1, Math.max(0, Math.floor(y)))];
  }

  paints(tool = this.act.tool()) {
    return tool === "brush" || tool === "eraser";
  }

  down(event) {
    if (!this.view.ready) return;
    this.view.canvas.focus({ preventScroll: true });
    this.view.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.keyed = false;
    if (this.pointers.size === 2) {
      this.callOff(); // a second finger: the two of them zoom
      this.clickable = false;
      return;
    }
    const tool = this.act.tool();
    const where = this.view.toImage(event);
    this.start = { x: event.clientX, y: event.clientY };
    this.clickable = event.button !== 1;
    this.panning = event.button === 1 || tool === "pan" || tool === "add" || tool === "sub";
    if (this.panning || event.button > 0) return;
    if (tool === "box" || this.paints(tool)) this.begin(where);
  }

  /** Starts a box or a stroke at an image point. */
  begin(where) {
    const tool = this.act.tool();
    if (tool === "box") this.draft = { from: this.clamped(where), box: null };
    else {
      const stroke = { foreground: tool === "brush", radius: this.act.radius(), points: [this.clamped(where)] };
      this.draft = { stroke };
      this.act.painting(stroke, 0);
    }
    this.view.draw();
  }

  moved(event) {
    this.at = this.view.toImage(event);
    const old = this.pointers.get(event.pointerId);
    if (old && this.pointers.size === 2) this.pinch(event, old);
    else if (old) {
      if (Math.hypot(event.clientX - this.start.x, event.clientY - this.start.y) > SLOP) this.clickable = false;
      if (this.panning && !this.clickable) this.view.move(event.clientX - old.x, event.clientY - old.y);
      const all = event.getCoalescedEvents?.() ?? [];
      for (const one of all.length ? all : [event]) this.extend(this.view.toImage(one));
    }
    if (old) this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.view.draw();
  }

  /** Draws the box or stroke under way on to an image point. */
  extend(where) {
    if (!this.draft) return;
    const [x, y] = this.clamped(where);
    if (this.draft.from) {
      const [fx, fy] = this.draft.from;
      this.draft.box = [Math.min(x, fx), Math.min(y, fy), Math.abs(x - fx) + 1, Math.abs(y - fy) + 1];
      return;
    }
    const { points } = this.draft.stroke;
    const [px, py] = points.at(-1);
    if (Math.hypot(x - px, y - py) < Math.max(1, this.draft.stroke.radius / 8)) return; // as exact, and far fewer
    points.push([x, y]);
    this.act.painting(this.draft.stroke, points.length - 1);
  }

  pinch(event, old) {
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
    const span = (one) => Math.max(8, Math.hypot(one.x - other.x, one.y - other.y));
    const now = { x: event.clientX, y: event.clientY };
    const { left, top } = this.view.canvas.getBoundingClientRect();
    this.view.move((now.x - old.x) / 2, (now.y - old.y) / 2);
    this.view.zoom(span(now) / span(old), (now.x + other.x) / 2 - left, (now.y + other.y) / 2 - top);
  }

  up(event) {
    const known = this.pointers.delete(event.pointerId);
    if (!known || this.pointers.size) return;
    const tool = this.act.tool();
    if (this.draft) this.finish();
    else if (this.clickable && tool !== "pan" && !this.paints(tool) && tool !== "box") {
      const other = event.button === 2 || event.shiftKey || event.altKey;
      this.click(this.view.toImage(event), (tool === "add") !== other);
    }
    this.panning = false;
  }

  click(where, foreground) {
    if (this.view.holds(where)) this.act.point(...this.clamped(where), foreground);
  }

  finish() {
    const { box, stroke } = this.draft;
    this.draft = null;
    if (stroke) this.act.stroke(stroke);
    else if (box && box[2] > 2 && box[3] > 2) this.act.box(box);
    this.view.draw();
  }

  callOff() {
    if (this.draft?.stroke) this.act.unpaint();
    this.draft = null;
    this.view.draw();
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.callOff();
  }

  left() {
    if (!this.pointers.size) this.at = null;
    this.view.draw();
  }

  blurred() {
    this.keyed = false;
    this.view.draw();
  }

  wheel(event) {
    event.preventDefault();
    const { left, top } = this.view.canvas.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 16 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0016; // a pinch on a touchpad comes as a wheel with ctrl
    this.view.zoom(Math.exp(-event.deltaY * lines * speed), event.clientX - left, event.clientY - top);
  }

  /** Arrows move a crosshair, Space clicks, or starts and ends a box or stroke; Shift: not the thing, or faster. */
  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!this.view.ready || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && this.draft) {
      this.callOff();
      event.stopPropagation();
      return;
    }
    if (!step && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    const tool = this.act.tool();
    if (step && tool === "pan") {
      this.view.move(-48 * step[0], -48 * step[1]);
      return;
    }
    this.keyed = true;
    this.at ??= [this.view.width / 2, this.view.height / 2];
    if (step) {
      const far = (event.shiftKey ? 40 : 8) / this.view.view.scale;
      this.at = this.clamped([this.at[0] + step[0] * far, this.at[1] + step[1] * far].map((value) => value + 0.5));
      this.extend(this.at);
    } else if (tool === "box" || this.paints(tool)) {
      if (this.draft) this.finish();
      else this.begin(this.at);
    } else if (tool !== "pan") this.click(this.at, (tool === "add") !== event.shiftKey);
    this.view.draw();
  }
}
