package door

import (
	"reflect"
	"slices"
	"testing"
)

// Every field of a load balancer's document beyond those that any has is asked for by a feature, and the document without them by none.
func TestOptionalFieldsOfABalancerNeedAFeature(t *testing.T) {
	always := []string{"Listen", "Certificates", "Targets", "IdleTimeout", "Require"}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Balancer]()) {
		var doc Balancer
		v := reflect.ValueOf(&doc).Elem().FieldByIndex(field.Index)
		switch v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case reflect.Map:
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf("key"), reflect.ValueOf("value"))
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
		default:
			t.Fatalf("%s is of a kind that this test does not know", field.Name)
		}
		if needs := doc.Needs(); slices.Contains(always, field.Name) != (len(needs) == 0) {
			t.Errorf("%s needs %q", field.Name, needs)
		}
	}
}
