/** Whether the canvas is looked at from afar, by its zoom: nodes show their titles alone then. */

import { createContext } from "react";

const FAR = 0.35;

export const isFar = (zoom: number) => zoom < FAR;

export const Far = createContext(false);
