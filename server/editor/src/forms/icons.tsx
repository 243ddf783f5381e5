/** Small pictures on buttons; each button has its name in words besides. */

import type { ReactNode } from "react";

function Icon({ children }: { children: ReactNode }) {
  return (
    <svg
      width="16"
      height="16"
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const Dice = () => (
  <Icon>
    <rect x="2" y="2" width="12" height="12" rx="2.5" />
    {[[5.2, 5.2], [10.8, 5.2], [8, 8], [5.2, 10.8], [10.8, 10.8]].map(([x, y]) => (
      <circle key={`${x} ${y}`} cx={x} cy={y} r="1" fill="currentColor" stroke="none" />
    ))}
  </Icon>
); // prettier-ignore

export const LockClosed = () => (
  <Icon>
    <rect x="3" y="7" width="10" height="7" rx="1.5" />
    <path d="M5.5 7V5a2.5 2.5 0 0 1 5 0v2" />
  </Icon>
);

export const LockOpen = () => (
  <Icon>
    <rect x="3" y="7" width="10" height="7" rx="1.5" />
    <path d="M5.5 7V4.5a2.5 2.5 0 0 1 4.9-.7" />
  </Icon>
);

export const Upload = () => (
  <Icon>
    <path d="M8 10.5v-8M4.8 5.4 8 2.2l3.2 3.2M2.5 10.5v3h11v-3" />
  </Icon>
);

export const Gallery = () => (
  <Icon>
    <rect x="2" y="2" width="5" height="5" rx="1" />
    <rect x="9" y="2" width="5" height="5" rx="1" />
    <rect x="2" y="9" width="5" height="5" rx="1" />
    <rect x="9" y="9" width="5" height="5" rx="1" />
  </Icon>
);

export const Brush = () => (
  <Icon>
    <path d="M13.5 2.5 7 9M6 9.2c-2 .1-2.3 1.6-2.5 2.6-.1.8-.6 1.3-1.3 1.6 2.6.8 5.6.2 5.6-2.4 0-1-.8-1.8-1.8-1.8Z" />
  </Icon>
);
