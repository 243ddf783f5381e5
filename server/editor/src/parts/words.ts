/** Numbers in words, as people say them. */

export function seconds(value: number): string {
  if (value < 0.95) return `${Math.max(1, Math.round(value * 1000))} ms`;
  if (value < 59.5) return `${Number(value.toFixed(value < 9.5 ? 1 : 0))} s`;
  const minutes = Math.floor(Math.round(value) / 60);
  return minutes < 60
    ? `${minutes} min ${Math.round(value) % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3));
  return `${(value / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** A moment (seconds since 1970): the time of today, else the date with it. */
export function moment(at: number, now = new Date()): string {
  const then = new Date(at * 1000);
  const time = then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return then.toDateString() === now.toDateString()
    ? time
    : `${then.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}
