// What Grafana's core sets up before it draws: options of fields, transformations, the time zone.
import {
  FieldConfigOptionsRegistry, identityOverrideProcessor, numberOverrideProcessor, setTimeZoneResolver, standardFieldConfigEditorRegistry,
  standardTransformers, standardTransformersRegistry, stringOverrideProcessor, thresholdsOverrideProcessor, valueMappingsOverrideProcessor,
} from '@grafana/data';

setTimeZoneResolver(() => 'utc');

const STANDARD = [
  ['unit', stringOverrideProcessor], ['decimals', numberOverrideProcessor], ['min', numberOverrideProcessor], ['max', numberOverrideProcessor],
  ['displayName', stringOverrideProcessor], ['noValue', stringOverrideProcessor], ['thresholds', thresholdsOverrideProcessor],
  ['mappings', valueMappingsOverrideProcessor], ['color', identityOverrideProcessor], ['links', identityOverrideProcessor],
  ['filterable', identityOverrideProcessor], ['description', stringOverrideProcessor], ['fieldMinMax', identityOverrideProcessor],
].map(([id, process]: any) => ({ id, path: id, name: id, process, override: process, shouldApply: () => true, editor: () => null }));

const CUSTOM = ['cellOptions', 'align', 'width', 'minWidth', 'hidden', 'hideFrom', 'lineWidth', 'fillOpacity', 'drawStyle', 'thresholdsStyle', 'lineStyle',
  'axisPlacement', 'stacking', 'spanNulls', 'showPoints', 'scaleDistribution', 'axisLabel', 'lineInterpolation', 'gradientMode', 'pointSize',
  'barAlignment', 'barWidthFactor', 'axisColorMode', 'axisSoftMin', 'axisSoftMax', 'axisWidth', 'axisCenteredZero', 'axisBorderShow', 'axisGridShow',
  'fillBelowTo', 'transform', 'inspect', 'filterable', 'insertNulls', 'lineColor', 'wrapText',
].map((id) => ({ id: `custom.${id}`, path: id, isCustom: true, name: id, process: (value: any) => value, override: (value: any) => value, shouldApply: () => true, editor: () => null }));

standardFieldConfigEditorRegistry.setInit(() => STANDARD as any);
export const registry = new FieldConfigOptionsRegistry(() => [...STANDARD, ...CUSTOM] as any);

const transformers = [...new Map(Object.values(standardTransformers).map((one: any) => [one.id, one])).values()] as any[];
standardTransformersRegistry.setInit(() => transformers.map((one) => ({ id: one.id, name: one.name, transformation: one, editor: () => null } as any)));
/** Transformations that are drawn; a dashboard's further ones would be left out unseen. */
export const TRANSFORMERS = new Set(transformers.map((one) => one.id));
