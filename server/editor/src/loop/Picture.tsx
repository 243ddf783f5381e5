import { useEffect, useState } from "react";

/** A picture of a value: the first of these that there is. Where there is none, its place says so. */
export function Picture({ urls, alt, className = "" }: { urls: readonly string[]; alt: string; className?: string }) {
  const [failed, setFailed] = useState<readonly string[]>([]);
  const first = urls[0] ?? "";
  useEffect(() => setFailed([]), [first]);
  const url = urls.find((one) => !failed.includes(one));
  if (url === undefined && alt === "") return <span className={`no-picture ${className}`} />;
  if (url === undefined) return <span className={`no-picture ${className}`} role="img" aria-label={`${alt}: no picture yet`} />;
  return <img src={url} alt={alt} className={className} onError={() => setFailed((before) => [...before, url])} draggable={false} />;
}
