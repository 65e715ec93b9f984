/** Every export of the library is documented, and the examples of its documentation compile. */
import { join } from 'node:path';
import ts from 'typescript';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../harness.js';

const index = join(root, 'lib', 'index.ts');
const options: ts.CompilerOptions = {
  ...{ strict: true, noEmit: true, skipLibCheck: true, types: ['node'] },
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
};

interface Exported {
  name: string;
  isValue: boolean;
  text: string;
  examples: string[];
}

/** What the library exports, with its documentation; of classes also the examples of methods. */
function exported(): Exported[] {
  const program = ts.createProgram([index], options);
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(index)!)!;
  return checker.getExportsOfModule(module).map((symbol) => {
    const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    const members = target.flags & ts.SymbolFlags.Class ? [...(target.members ?? []), ...(target.exports ?? [])] : [];
    const documented = [target, ...members.map(([, member]) => member)];
    return {
      name: symbol.name,
      isValue: (target.flags & ts.SymbolFlags.Value) !== 0,
      text: ts.displayPartsToString(target.getDocumentationComment(checker)),
      examples: documented.flatMap((one) =>
        one
          .getJsDocTags(checker)
          .filter((tag) => tag.name === 'example')
          .map((tag) => ts.displayPartsToString(tag.text)),
      ),
    };
  });
}

const all = exported();

test('every export says what it is, every function and class shows how it is used', () => {
  assert.ok(all.length > 30);
  for (const { name, isValue, text, examples } of all) {
    assert.ok(text.length > 8, `${name} has no documentation`);
    if (isValue) assert.ok(examples.length > 0, `${name} has no example`);
  }
});

test('the examples compile against the library, with the names of its exports and no others', () => {
  const values = all.filter(({ isValue }) => isValue).map(({ name }) => name);
  const sources = new Map<string, string>();
  for (const { name, examples } of all)
    examples.forEach((example, at) => {
      const heading = /^import /m.test(example) ? '' : `import { ${values.join(', ')} } from '../lib/index.js';\n`;
      sources.set(join(root, 'test', `example-of-${name}-${at}.ts`), `${heading}${example}\nexport {};\n`);
    });
  assert.ok(sources.size >= 15, `${sources.size} examples`);
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (file) => sources.has(file) || fileExists(file);
  host.readFile = (file) => sources.get(file) ?? readFile(file);
  host.getSourceFile = (file, ...rest) =>
    sources.has(file)
      ? ts.createSourceFile(file, sources.get(file)!, ts.ScriptTarget.ES2022)
      : getSourceFile(file, ...rest);
  const program = ts.createProgram([...sources.keys()], options, host);
  const problems = [...sources.keys()].flatMap((file) => {
    const source = program.getSourceFile(file)!;
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText }) => `${file}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
    );
  });
  assert.equal(problems, []);
});

test.run();
