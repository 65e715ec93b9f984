/** The lists of the package that are used here; it comes without types. */
declare module 'stopword' {
  export const eng: string[];
  export const zho: string[];
}
